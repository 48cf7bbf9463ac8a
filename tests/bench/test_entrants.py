"""Who is let into a bench of engines, in which order, and within which time."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch

from service.engines.eager import EagerEngine
from service.errors import BadSetting
from tests.bench.entrants import NO_TIME, CannotRun, Entrant, Runner, Time, Trial, admit
from tests.bench.networks import AS_WRITTEN, FUSED, PLAIN, PLAINS
from tests.bench.ours import engine_runner
from tests.bench.ratios import MASKS_ALL
from tests.bench.report import Absent, Label
from tests.bench.rounds import Pace
from tests.running import tiny_model

TRIAL = Trial(tiny_model())
ALL_DAY = Time(Pace(None, float("inf")), time.perf_counter)


def entrant(build: Callable[[], Runner], precision: str = "fp32") -> Entrant:
    """Something that claims to run the network as written."""
    return Entrant("some", AS_WRITTEN, precision, build)


@functools.cache
def true_runner() -> Runner:
    """What the network computes, by the eager engine."""
    engine = EagerEngine(tiny_model(), torch.device("cpu"), "fp32")
    engine.load()
    return engine_runner(lambda: engine)


def scaled(factor_of: Callable[[int], float]) -> Runner:
    """The same times a factor, by the size of the batch."""
    return lambda pixels: true_runner()(pixels) * np.float32(factor_of(len(pixels)))


def admitted(
    *entrants: Entrant, batches: tuple[int, ...] = (1, 2), trial: Trial = TRIAL
) -> tuple[list[Label], list[Absent]]:
    """The labels of the contestants, and those who were left out."""
    found = admit(entrants, trial, batches, lambda _: None, ALL_DAY)
    return [contestant.label for contestant in found.contestants], found.absent


def test_an_entrant_is_measured_at_each_batch_size() -> None:
    """One row a size, under the entrant's name; masks are compared at one size only."""
    every = entrant(true_runner)
    only = dataclasses.replace(every, only_batch=2)

    one, two = (Label("some", AS_WRITTEN, "fp32", size) for size in (1, 2))
    assert admitted(every) == ([one, two], [])
    assert admitted(only) == ([two], [])
    assert admitted(only, batches=(1,)) == ([], [])


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (CannotRun("no bf16 here"), "no bf16 here"),
        (BadSetting("no device"), "no device"),
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


@pytest.mark.parametrize(
    ("factor_of", "off"),
    [(lambda _: 1.125, "12.5%"), (lambda _: float("nan"), "nan%"), (float, "100.0%")],
)
def test_one_that_computes_something_else_is_absent(
    factor_of: Callable[[int], float], off: str
) -> None:
    """Speed without the right answer is no speed, and every size may be another program."""
    labels, absent = admitted(entrant(lambda: scaled(factor_of)))

    assert labels == []
    assert f"its logits are {off} from the reference's" in absent[0].reason


@pytest.mark.parametrize("form", PLAINS)
def test_without_sge_another_function_is_computed(form: str) -> None:
    """Every plain form is compared with the plain network."""
    labels, absent = admitted(dataclasses.replace(entrant(true_runner), model=form))

    assert labels == []
    assert "computes something else" in absent[0].reason


def test_lower_precision_may_round_more() -> None:
    """int8 keeps 8 bits: some hundredths off is no other function, and is told."""
    trial = Trial(tiny_model())

    labels, absent = admitted(entrant(lambda: scaled(lambda _: 1.0625), "int8"), trial=trial)

    assert [label.precision for label in labels] == ["int8", "int8"]
    assert absent == []
    assert trial.furthest == {"some int8": pytest.approx(0.0625, rel=1e-3)}


def test_what_ratios_are_made_of_is_built_first() -> None:
    """Where the time runs out, the rest is missing."""

    def weight(engine: str, model: str, precision: str = "fp32") -> int:
        return Entrant(engine, model, precision, true_runner).weight

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

    def taking(seconds: float) -> Callable[[], Runner]:
        def build() -> Runner:
            now[0] += seconds
            return true_runner()

        return build

    first, second = (Entrant("eager", form, "fp32", taking(100)) for form in (AS_WRITTEN, FUSED))
    otherwise = Entrant("eager", MASKS_ALL, "fp32", taking(1), way="another")
    other = Entrant("some", AS_WRITTEN, "fp32", taking(1))
    time_left = Time(Pace(None, until=150.0), lambda: now[0])

    found = admit([first, second, otherwise, other], TRIAL, (1,), lambda _: None, time_left)

    built = [(contestant.label.engine, contestant.label.model) for contestant in found.contestants]
    assert built == [("eager", AS_WRITTEN), ("eager", MASKS_ALL), ("some", AS_WRITTEN)]
    assert found.absent == [Absent("eager fp32, fused", NO_TIME)]


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
