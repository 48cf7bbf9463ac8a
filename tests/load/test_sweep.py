"""A whole sweep over a service that is one number, in virtual time."""

from __future__ import annotations

import pytest

from tests.load.fake_target import FakeTarget, idle_clock
from tests.load.mix import PREDICT, Kind
from tests.load.sender import Answer
from tests.load.sweep import Plan, Sweep, Sweeper
from tests.load.verdicts import ClientTooSlow, compare
from tests.load.virtual_time import run_virtually, work

KINDS = (Kind("one", 3, PREDICT, "image/png", b""), Kind("two", 1, PREDICT, "image/png", b""))
IMAGE_S = 0.02  # 50 a second


def sweep(target: FakeTarget, said: list[str], **changes: object) -> Sweep:
    """Sweep over a fake service."""
    plan = Plan(**({"step_s": 6.0} | changes))  # type: ignore[arg-type]
    return run_virtually(Sweeper(target, KINDS, idle_clock, plan, said.append).run())


def test_a_sweep_finds_capacity_and_knee() -> None:
    """The pilot finds 50 answers/s; constant arrivals are held up to that, and 60/s are not."""
    said: list[str] = []

    found = sweep(FakeTarget(IMAGE_S), said, deadline_s=0.2)

    knee = found.knees["constant"]
    assert found.capacity == pytest.approx(50, rel=0.01)
    assert knee.held == pytest.approx(50, rel=0.01)
    assert knee.broken == pytest.approx(60, rel=0.01)
    assert said[0] == "32 callers who never pause: 50.0 answers/s"
    assert len(said) == 1 + len(found.steps)


def test_bursts_bring_the_knee_down() -> None:
    """Poisson arrivals of the same rate break the deadline sooner, and the knee is narrowed."""
    found = sweep(FakeTarget(IMAGE_S), [], deadline_s=0.1)

    poisson = found.knees["poisson"]
    assert poisson.held is not None
    assert poisson.broken is not None
    assert poisson.held < 45
    assert poisson.broken - poisson.held < 5
    assert len(found.steps_of("poisson")) == len(found.steps_of("constant")) + 2


def test_client_and_service_agree() -> None:
    """The client's figures are those of the service's histograms, at every rate."""
    found = sweep(FakeTarget(IMAGE_S), [], rates=(15.0, 45.0, 60.0))

    assert [row for step in found.steps for row in compare(step) if not row.agrees] == []
    assert found.capacity is None


def test_a_service_that_counts_double_is_found_out() -> None:
    """The disagreement is in the comparison of every step."""
    found = sweep(FakeTarget(IMAGE_S, counts_double=True), [], rates=(30.0,), refinements=0)

    apart = [row.name for step in found.steps for row in compare(step) if not row.agrees]
    assert apart == ["answers", "answers"]


def test_processor_time_is_measured_over_each_step() -> None:
    """Cores are those of the meter, whatever the rate."""
    found = sweep(FakeTarget(IMAGE_S), [], rates=(20.0, 40.0))

    assert [step.cores.client for step in found.steps] == pytest.approx([0.1] * 4)
    assert [step.cores.server for step in found.steps] == pytest.approx([1.5] * 4)
    assert [step.images_per_core for step in found.steps_of("constant")] == pytest.approx(
        [20 / 1.5, 40 / 1.5], rel=0.01
    )


def test_a_client_that_cannot_keep_up_ends_the_sweep() -> None:
    """A client that needs 30 ms to send a request cannot send 60 a second: no sweep comes back."""
    said: list[str] = []
    slow_client = FakeTarget(0.001, while_sending=lambda: work(0.03))

    with pytest.raises(ClientTooSlow, match=r"the client was the bottleneck at 60/s"):
        sweep(slow_client, said, rates=(10.0, 60.0), arrivals=("constant",))

    assert len(said) == 1  # the rate that it did keep up with


def test_a_service_that_fails_everything_has_no_capacity() -> None:
    """The pilot says so instead of dividing by it."""
    broken = FakeTarget(IMAGE_S, answer=Answer.FAILED)

    with pytest.raises(ConnectionError, match=r"none of \d+ requests was answered ok"):
        sweep(broken, [])
