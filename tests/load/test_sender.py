"""Open loop and closed loop, on a clock that the tests own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tests.load.arrivals import plan_arrivals
from tests.load.fake_target import FakeTarget
from tests.load.mix import PREDICT, Kind
from tests.load.sender import Answer, Sent, Shot, send_closed_loop, send_open_loop
from tests.load.step import Latencies
from tests.load.virtual_time import run_virtually, work

KIND = Kind("one", 1, PREDICT, "image/png", b"")
RATE, DURATION_S, IMAGE_S = 100, 10.0, 0.001
STALL = (4.0, 6.0)  # a fifth of the run


def open_loop(target: FakeTarget, due_s: Sequence[float]) -> list[Shot]:
    """Send to a fake service in open loop."""
    return run_virtually(send_open_loop(target.send, [KIND] * len(due_s), due_s))


def evenly() -> list[float]:
    """The moments of most tests here."""
    return [float(due_s) for due_s in plan_arrivals("constant", RATE, DURATION_S, seed=0)]


def test_opening_a_connection_is_no_lateness() -> None:
    """It is part of what the caller waited, and nobody's fault that the client could mend."""

    async def send(_: Kind) -> Sent:
        work(0.25)
        return Sent(Answer.OK, asyncio.get_running_loop().time(), connecting_s=0.25)

    (shot,) = run_virtually(send_open_loop(send, [KIND], [1.0]))

    assert shot.lateness_s == pytest.approx(0.0)
    assert shot.latency_s == pytest.approx(0.25)
    assert shot.service_s == pytest.approx(0.0)


def test_requests_leave_at_their_moments() -> None:
    """A request is sent when it is due, whatever became of those before it."""
    shots = open_loop(FakeTarget(image_s=3.0), [0.0, 0.5, 2.0])

    assert [shot.sent_s for shot in shots] == pytest.approx([0.0, 0.5, 2.0])
    assert [shot.ended_s for shot in shots] == pytest.approx([3.0, 6.0, 9.0])
    assert {shot.answer for shot in shots} == {Answer.OK}


def test_a_service_that_stands_still_shows_in_the_tail() -> None:
    """Two seconds of standstill in ten are seen by a fifth of the requests, up to 2 s long."""
    shots = open_loop(FakeTarget(IMAGE_S, stalled=STALL), evenly())
    seen = Latencies.of(shot.latency_s for shot in shots)

    assert seen.count == 1000
    assert seen.p50_ms == pytest.approx(IMAGE_S * 1000, rel=0.01)
    # A wait is evenly spread over 0 to 2 s (and a little: 200 requests come at once after it),
    # so that of all requests one in ten waits for more than half of that.
    assert seen.p90_ms == pytest.approx(1000, rel=0.15)
    assert seen.p99_ms == pytest.approx(1900, rel=0.05)


def test_a_closed_loop_excuses_the_same_standstill() -> None:
    """A caller who waits for its answer sends nothing meanwhile, and sees one slow request."""
    target = FakeTarget(IMAGE_S, stalled=STALL)
    shots = run_virtually(send_closed_loop(target.send, [KIND], 1, DURATION_S))
    seen = Latencies.of(shot.latency_s for shot in shots)

    assert seen.max_ms == pytest.approx(2000, rel=0.01)
    assert seen.p99_ms == pytest.approx(IMAGE_S * 1000, rel=0.01)


def test_a_wait_counts_from_the_moment_a_request_was_due() -> None:
    """What the client is late by is part of the latency, and is told apart from the service."""
    target = FakeTarget(image_s=0.1, while_sending=lambda: work(0.3))

    first, second = open_loop(target, [0.0, 0.1])

    assert (first.lateness_s, second.lateness_s) == pytest.approx((0.0, 0.2))
    assert second.latency_s == pytest.approx(second.lateness_s + second.service_s)


def test_callers_in_closed_loop_share_the_kinds() -> None:
    """Every caller takes the next kind, so that all kinds come in their order."""
    kinds = [Kind(name, 1, PREDICT, "image/png", b"") for name in "abc"]
    target = FakeTarget(image_s=1.0)

    shots = run_virtually(send_closed_loop(target.send, kinds, 2, 3.0))

    assert [kind.name for kind in target.sent] == ["a", "b", "c", "a"]
    assert [shot.ended_s for shot in shots] == pytest.approx([1, 2, 3, 4])
