"""ONNX Runtime and OpenVINO on a tiny network, where the extra `bench` is installed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.bench.entrants import CannotRun, Time, Trial, admit
from tests.bench.networks import AS_WRITTEN
from tests.bench.peers import LIBRARIES, import_peer, peer_entrants
from tests.bench.report import Label
from tests.bench.rounds import Pace
from tests.bench.test_engines import bench
from tests.running import tiny_model


def test_a_library_that_is_not_installed_is_named() -> None:
    """And so is the way to install it."""
    with pytest.raises(
        CannotRun, match=r"^no_such_library is not installed: pip install 'sge-serve\[bench\]'$"
    ):
        import_peer("no_such_library")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")  # the exporter's and the peers' own
def test_peers_compute_the_network(tmp_path: Path) -> None:
    """Exported once for any batch, they agree with eager fp32 at each size; int8 nearly."""
    for library in LIBRARIES:
        pytest.importorskip(library, reason="a peer of the extra `bench` is not installed")
    model, all_day = tiny_model(), Time(Pace(None, float("inf")), time.perf_counter)
    wanted = bench("cpu", ("fp32", "int8"))
    peers = (p for p in peer_entrants(wanted, model, tmp_path) if p.model == AS_WRITTEN)

    found = admit(peers, Trial(model), (1, 3), lambda _: None, all_day)

    assert found.absent == []
    assert [contestant.label for contestant in found.contestants] == [
        Label(engine, AS_WRITTEN, precision, batch)
        for engine, precision in (
            ("onnxruntime", "fp32"),
            ("openvino", "fp32"),
            ("openvino", "int8"),
        )
        for batch in (1, 3)
    ]
