"""How long the event loop stands still, seen by alarms on a clock that the test moves."""

from __future__ import annotations

import pytest

from service.api.loop_watch import EVERY_S, LoopWatch
from tests.fakes import FakeTimer

pytestmark = pytest.mark.anyio


async def test_a_loop_that_stands_still_is_late_by_as_long() -> None:
    """But for what was left until the next look."""
    timer, lags = FakeTimer(), list[float]()
    watch = LoopWatch(timer, lags.append)

    with watch:
        timer.advance(EVERY_S)
        timer.advance(EVERY_S + 0.75)

    assert lags == pytest.approx([0.0, 0.75])


async def test_an_idle_service_sets_no_alarm() -> None:
    """The last one is not set again once no request is inside."""
    timer, lags = FakeTimer(), list[float]()
    watch = LoopWatch(timer, lags.append)

    before = timer.alarms
    with watch, watch:
        during = timer.alarms
    timer.advance(EVERY_S)

    assert (before, during, timer.alarms) == ([], [1000 + EVERY_S], [])
    assert lags == [0.0]


async def test_requests_share_one_alarm() -> None:
    """However many come and go, the loop is looked at as often."""
    timer, lags = FakeTimer(), list[float]()
    watch = LoopWatch(timer, lags.append)

    for _ in range(3):
        with watch:
            pass
    with watch:
        alarms = timer.alarms

    assert len(alarms) == 1
