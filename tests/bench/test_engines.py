"""Who is let into `bench engines`, and that the forms of a network compute the same."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from service.engines.eager import EagerEngine
from service.errors import BadSetting
from tests.bench.admission import NO_TIME, Time, Trial, admit, weight_of
from tests.bench.engines import EngineBench, all_entrants
from tests.bench.entrants import CannotRun, Entrant, Logits, Pixels, Runner
from tests.bench.machine import describe, peak_gflops
from tests.bench.networks import random_model
from tests.bench.ours import FORMS, Ours, engine_runner, our_entrants
from tests.bench.ratios import AS_WRITTEN, FUSED, MASKS_ALL, MASKS_LAST, PLAIN
from tests.bench.report import Absent, Label
from tests.bench.rounds import Pace
from tests.store_fixtures import TINY

CPU = torch.device("cpu")
MODEL = random_model(TINY)
TRIAL = Trial(MODEL)
ALL_DAY = Time(Pace(None, float("inf")), time.perf_counter)
EAGER_ONLY = Ours(MODEL, CPU, threads=1, precisions=(), max_batch=2, cache_dir=Path("unused"))


def entrant(build: Callable[[], Runner], precision: str = "fp32") -> Entrant:
    """Something that claims to run the network as written."""
    return Entrant("some", AS_WRITTEN, precision, build)


def true_runner() -> Runner:
    """What the network computes, by the eager engine."""
    engine = EagerEngine(MODEL, CPU, "fp32")
    engine.load()
    return engine_runner(engine)


def admitted(
    *entrants: Entrant, batches: tuple[int, ...] = (1, 2)
) -> tuple[list[Label], list[Absent]]:
    """The labels of the contestants, and those who were left out."""
    contestants, absent = admit(entrants, TRIAL, batches, lambda _: None, ALL_DAY)
    return [contestant.label for contestant in contestants], absent


def test_an_entrant_is_measured_at_each_batch_size() -> None:
    """One row a size, under the entrant's name."""
    labels, absent = admitted(entrant(true_runner))

    assert labels == [Label("some", AS_WRITTEN, "fp32", 1), Label("some", AS_WRITTEN, "fp32", 2)]
    assert absent == []


def test_one_that_is_measured_at_one_size_is_not_built_for_others() -> None:
    """Masks are compared at a batch of 8 only."""
    only = Entrant("some", AS_WRITTEN, "fp32", true_runner, only_batch=2)

    assert admitted(only)[0] == [Label("some", AS_WRITTEN, "fp32", 2)]
    assert admitted(only, batches=(1,)) == ([], [])


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (CannotRun("no bf16 here"), "no bf16 here"),
        (BadSetting("onnx is not installed"), "onnx is not installed"),
        (RuntimeError("first line\nsecond line"), "first line"),
        (RuntimeError(), "RuntimeError"),
    ],
)
def test_one_that_cannot_be_built_is_absent_by_name(error: Exception, reason: str) -> None:
    """The others are measured, and the report says who was missing and why."""

    def refuse() -> Runner:
        raise error

    labels, absent = admitted(entrant(refuse), entrant(true_runner), batches=(1,))

    assert absent == [Absent("some fp32, as written", reason)]
    assert labels == [Label("some", AS_WRITTEN, "fp32", 1)]


@pytest.mark.parametrize("factor", [1.1, float("nan")])
def test_one_that_computes_something_else_is_absent(factor: float) -> None:
    """Speed without the right answer is no speed."""
    run = true_runner()

    def wrong(pixels: Pixels) -> Logits:
        return run(pixels) * np.float32(factor)

    labels, absent = admitted(entrant(lambda: wrong), batches=(1,))

    assert labels == []
    assert absent[0].reason.startswith("computes something else: its logits are ")


def test_one_that_errs_at_a_larger_batch_is_absent() -> None:
    """Every size is looked at, since a program may be another one for it."""
    run = true_runner()

    labels, absent = admitted(entrant(lambda: lambda x: run(x) * np.float32(len(x))))

    assert labels == []
    assert "100.0% from the reference's" in absent[0].reason


def test_how_far_off_is_kept() -> None:
    """A reader sees what a tolerance allowed."""
    trial, run = Trial(MODEL), true_runner()
    off = entrant(lambda: lambda x: run(x) * np.float32(1.0625), "int8")

    admit([off], trial, (1, 2), lambda _: None, ALL_DAY)

    assert trial.furthest == {"some int8": pytest.approx(0.0625, rel=1e-3)}


def test_a_gpu_has_tensorrt_beside_compiled() -> None:
    """With and without masks; nothing is built before its turn, and int8 is the CPU's."""
    on_gpu = dataclasses.replace(EAGER_ONLY, device=torch.device("cuda"), precisions=("bf16",))

    found = {(e.engine, e.precision, e.model) for e in our_entrants(on_gpu) if e.engine != "eager"}

    forms = {FUSED, MASKS_LAST, MASKS_ALL}
    assert found == {("compiled", "bf16", form) for form in {PLAIN, AS_WRITTEN, *forms}} | {
        ("tensorrt", "fp16", form) for form in forms
    }


def test_lower_precision_may_round_more() -> None:
    """int8 keeps 8 bits: some hundredths off is no other function."""
    run = true_runner()

    labels, _ = admitted(entrant(lambda: lambda x: run(x) * np.float32(1.05), "int8"), batches=(1,))

    assert labels == [Label("some", AS_WRITTEN, "int8", 1)]


def test_every_eager_form_computes_its_reference() -> None:
    """Plain, as written and fused; the plain one has the same weights without SGE."""
    labels, absent = admitted(*our_entrants(EAGER_ONLY), batches=(2,))

    assert labels == [Label("eager", form, "fp32", 2) for form in FORMS]
    assert absent == []


def test_sge_makes_a_difference() -> None:
    """The check could tell a network with SGE from one without."""
    plain, as_written, fused = (e.build()(TRIAL.pixels(1)) for e in our_entrants(EAGER_ONLY))

    np.testing.assert_allclose(fused, as_written, rtol=1e-3)
    assert np.linalg.norm(plain - as_written) > 0.1 * np.linalg.norm(as_written)


def test_the_random_network_is_the_same_each_time() -> None:
    """Two runs measure one network, whose gates vary and whose numbers stay finite."""
    again = random_model(TINY).network.state_dict()

    weights = MODEL.network.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in weights.items())
    assert weights["layer4.1.sge.weight"].std() > 0.1
    assert np.isfinite(true_runner()(TRIAL.pixels(1))).all()


def test_the_field_is_what_the_issue_of_speed_asks_for(tmp_path: Path) -> None:
    """Three forms of the network on ours and on both peers, and int8."""
    wanted = EngineBench(
        spec=TINY,
        engines=(),
        precisions=("fp32", "int8"),
        batches=(8,),
        threads=1,
        peer_forms=FORMS,
        device=CPU,
        rounds=None,
        budget_s=0.0,
        with_start_up=False,
    )
    ours = dataclasses.replace(EAGER_ONLY, precisions=wanted.precisions)

    field = {(e.engine, e.precision, e.model) for e in all_entrants(wanted, ours, tmp_path)}

    for form in (PLAIN, AS_WRITTEN, FUSED):
        assert {
            ("eager", "fp32", form),
            ("compiled", "fp32", form),
            ("onnxruntime", "fp32", form),
            ("openvino", "fp32", form),
            ("openvino", "int8", form),
        } <= field
    assert ("int8", "int8", FUSED) in field


def test_what_ratios_are_made_of_is_built_first() -> None:
    """Where the time runs out, the rest is missing."""

    def weight(engine: str, model: str, precision: str = "fp32") -> int:
        return weight_of(Entrant(engine, model, precision, true_runner))

    assert (
        weight("compiled", PLAIN)
        == weight("compiled", FUSED)
        == weight("compiled", MASKS_ALL)
        == weight("tensorrt", FUSED)
        < weight("onnxruntime", AS_WRITTEN)
        == weight("openvino", AS_WRITTEN, "int8")
        < weight("int8", FUSED, "int8")
        < weight("compiled", AS_WRITTEN)
        < weight("eager", FUSED)
        < weight("openvino", PLAIN)
        == weight("onnxruntime", FUSED)
    )


def test_what_would_not_be_ready_in_time_is_left_out() -> None:
    """Judged by what others of its kind took, and by the rounds that are still to be run."""
    now = [0.0]

    def slow() -> Runner:
        now[0] += 100.0
        return true_runner()

    def quick() -> Runner:
        now[0] += 1.0
        return true_runner()

    first, second = (Entrant("eager", form, "fp32", slow) for form in (AS_WRITTEN, FUSED))
    otherwise = Entrant("eager", MASKS_ALL, "fp32", quick, way="another")
    other = Entrant("some", AS_WRITTEN, "fp32", quick)
    time_left = Time(Pace(None, until=150.0), lambda: now[0])

    contestants, absent = admit(
        [first, second, otherwise, other], TRIAL, (1,), lambda _: None, time_left
    )

    built = [(contestant.label.engine, contestant.label.model) for contestant in contestants]
    assert built == [("eager", AS_WRITTEN), ("eager", MASKS_ALL), ("some", AS_WRITTEN)]
    assert absent == [Absent("eager fp32, fused", NO_TIME)]


@pytest.mark.parametrize(("until", "fits"), [(64.0, True), (63.0, False)])
def test_time_is_kept_for_the_rounds(until: float, fits: bool) -> None:  # noqa: FBT001 - pytest's
    """Three at least; a short run has a turn of its own length and of the time it is repeated."""
    now = 10.0
    left = Time(Pace(None, until, turn_s=2.0), lambda: now)

    left.measured(15.0)
    left.measured(1.0)

    assert left.is_enough_for(entrant(true_runner)) == fits
    exactly = dataclasses.replace(left, pace=Pace(1, until, turn_s=2.0))
    assert exactly.is_enough_for(entrant(true_runner))


def test_the_machine_is_described() -> None:
    """What a reader asks first, and the peak of the matrix product."""
    machine = describe(1, ("numpy", "no-such-library"))

    assert machine.cpu
    assert machine.threads == 1
    assert machine.versions["numpy"] == np.__version__
    assert "no-such-library" not in machine.versions
    assert set(machine.peak_gflops) == {"fp32", "bf16"}


def test_the_peak_is_the_best_product() -> None:
    """2 n^3 operations in the shortest of several times, which take a second at most."""
    moments = iter([0.0, 0.5, 0.5, 0.75, 0.75, 1.25])

    peak = peak_gflops(torch.float32, lambda: next(moments), side=100)

    assert peak == pytest.approx(2 * 100**3 / 0.25 / 1e9)
