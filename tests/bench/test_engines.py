"""The field of a bench of engines, what is compiled ahead for it, and a machine's peak."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from service.config import Settings
from service.errors import EngineFailed
from tests.bench.engines import builds_for, entrants_for, settings_in
from tests.bench.entrants import EngineBench, Time, Trial, admit
from tests.bench.networks import (
    AS_WRITTEN,
    FORMS,
    FUSED,
    PLAIN,
    PLAIN_BY_KERNELS,
    random_model,
)
from tests.bench.ours import Kind, Ours, build_ahead, our_entrants
from tests.bench.ratios import ATTRIBUTION, MASKS_ALL, MASKS_LAST
from tests.bench.report import Label
from tests.bench.rounds import Pace
from tests.running import tiny_model
from tests.store_fixtures import TINY

ALL_DAY = Pace(None, float("inf"))
COMPILED: Kind = ("compiled", "fp32")
INT8: Kind = ("int8", "int8")


def field(device: str = "cpu", engines: tuple[str, ...] = ()) -> set[tuple[str, str, str]]:
    """Engine, precision and form of all who want to take part."""
    precisions = ("fp32", "int8") if device == "cpu" else ("bf16",)
    found = entrants_for(ours(device, precisions, engines), Path("unused"))
    return {(entrant.engine, entrant.precision, entrant.model) for entrant in found}


def ours(*about: Any, builds: Mapping[Kind, Future[None]] | None = None) -> Ours:
    """What our entrants of the tiny network share."""
    return Ours(bench(*about), tiny_model(), Settings(), builds or {})


def bench(device: str, precisions: tuple[str, ...], engines: tuple[str, ...] = ()) -> EngineBench:
    """What to measure of the tiny network."""
    return EngineBench(
        spec=TINY,
        engines=engines,
        precisions=precisions,
        batches=(1, 8),
        threads=1,
        peer_forms=FORMS,
        device=torch.device(device),
        pace=ALL_DAY,
        with_start_up=False,
    )


def test_every_form_runs_on_every_engine() -> None:
    """Three forms on ours and on both peers; maps and int8 of the fused one; plain by kernels."""
    everywhere = {
        (engine, precision, form)
        for engine, precision in (
            *(("eager", "fp32"), ("compiled", "fp32"), ("onnxruntime", "fp32")),
            *(("openvino", "fp32"), ("openvino", "int8")),
        )
        for form in (PLAIN, AS_WRITTEN, FUSED)
    }
    masks = {("compiled", "fp32", form) for form in (MASKS_LAST, MASKS_ALL, ATTRIBUTION)}

    assert field() == everywhere | masks | {
        ("int8", "int8", FUSED),
        ("compiled", "fp32", PLAIN_BY_KERNELS),
    }
    assert field(engines=("int8", "eager")) == {
        ("int8", "int8", FUSED),
        *(("eager", "fp32", form) for form in (PLAIN, AS_WRITTEN, FUSED)),
    }


def test_a_gpu_has_tensorrt_beside_compiled() -> None:
    """With and without maps; nothing is built before its turn, and int8 is the CPU's."""
    forms = {FUSED, MASKS_LAST, MASKS_ALL, ATTRIBUTION}

    assert field("cuda", engines=("compiled", "tensorrt")) == {
        ("compiled", "bf16", form) for form in {PLAIN, AS_WRITTEN, *forms}
    } | {("tensorrt", "fp16", form) for form in forms}


def test_every_eager_form_computes_its_reference() -> None:
    """Plain, as written and fused; what the plain one computes is something else."""
    eager = list(our_entrants(ours("cpu", ())))
    trial, time_left = Trial(tiny_model()), Time(ALL_DAY, time.perf_counter)

    found = admit(eager, trial, (2,), lambda _: None, time_left)

    assert [contestant.label for contestant in found.contestants] == [
        Label("eager", form, "fp32", 2) for form in FORMS
    ]
    assert found.absent == []
    plain, as_written, _ = (entrant.build()(trial.pixels(1)) for entrant in eager)
    assert np.linalg.norm(plain - as_written) > 0.1 * np.linalg.norm(as_written)


def test_the_random_network_is_the_same_each_time(tmp_path: Path) -> None:
    """Two runs measure one network, whose gates vary and whose numbers stay finite."""
    one, other = (random_model(TINY, tmp_path / name) for name in ("one", "other"))

    weights, again = one.network.state_dict(), other.network.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in weights.items())
    assert weights["layer4.1.sge.weight"].std() > 0.1


def test_what_a_start_has_compiled_is_not_compiled_again(tmp_path: Path) -> None:
    """On a CPU the others are built in processes of their own; on a GPU none is."""
    wanted = bench("cpu", ("fp32", "bf16", "int8"))
    settings = settings_in(tmp_path, wanted)

    assert (settings.precision, settings.max_batch) == ("bf16", 8)
    assert [*builds_for(wanted, settings, "random/1", ())] == [COMPILED, ("compiled", "bf16"), INT8]
    assert [*builds_for(wanted, settings, "random/1", {"compiled"})] == [COMPILED, INT8]
    assert builds_for(bench("cuda", ("fp32",)), settings, "random/1", ()) == {}


def test_builds_begin_at_once_and_go_on_one_after_another() -> None:
    """Who needs one waits for that one alone, and is told of its failure."""
    may_end = threading.Event()

    def fail() -> None:
        raise EngineFailed("no compiler")

    def wait_for_it() -> None:
        may_end.wait()

    ahead = build_ahead({COMPILED: fail, INT8: wait_for_it})

    with pytest.raises(EngineFailed, match="no compiler"):
        ours("cpu", (), builds=ahead).loaded(COMPILED)
    assert not ahead[INT8].done()
    may_end.set()
    ahead[INT8].result()
