"""ONNX Runtime and OpenVINO on a tiny network, where the extra `bench` is installed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from service.errors import BadSetting
from tests.bench.admission import Time, Trial, admit
from tests.bench.extra import import_extra
from tests.bench.networks import random_model
from tests.bench.peers import Peers, peer_entrants
from tests.bench.ratios import AS_WRITTEN
from tests.bench.report import Label
from tests.bench.rounds import Pace
from tests.store_fixtures import TINY


def test_a_library_that_is_not_installed_is_named() -> None:
    """And so is the way to install it."""
    with pytest.raises(
        BadSetting, match=r"^no_such_library is not installed: pip install 'sge-serve\[bench\]'$"
    ):
        import_extra("no_such_library")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")  # the exporter's and the peers' own
def test_peers_compute_the_network(tmp_path: Path) -> None:
    """Exported once for any batch, they agree with eager fp32 at each size; int8 nearly."""
    for library in ("onnx", "onnxscript", "onnxruntime", "openvino", "nncf"):
        pytest.importorskip(library, reason="a peer of the extra `bench` is not installed")
    model = random_model(TINY)
    trial = Trial(model)
    peers = Peers(model, tmp_path, 1, ("fp32", "int8"), (AS_WRITTEN,), trial.pixels(4))

    all_day = Time(Pace(None, float("inf")), time.perf_counter)

    contestants, absent = admit(peer_entrants(peers), trial, (1, 3), lambda _: None, all_day)

    assert absent == []
    assert [contestant.label for contestant in contestants] == [
        Label(engine, AS_WRITTEN, precision, batch)
        for engine, precision in (
            ("onnxruntime", "fp32"),
            ("openvino", "fp32"),
            ("openvino", "int8"),
        )
        for batch in (1, 3)
    ]
