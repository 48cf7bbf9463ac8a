"""The thread that owns a device."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from service.device_thread import DeviceThread
from service.errors import EngineFailed, EngineLost

pytestmark = pytest.mark.anyio


class Deaths:
    """Counts deaths."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        """A thread died."""
        self.count += 1


def die() -> None:
    """End the thread that calls it."""
    raise SystemExit


async def test_calls_run_on_one_thread_in_order() -> None:
    """Every call sees the same thread, which is not the caller's, in the order of the calls."""
    thread = DeviceThread(Deaths())
    thread.start()
    order: list[int] = []

    def note(number: int) -> int:
        order.append(number)
        return threading.get_ident()

    waiting = [thread.run(note, number) for number in range(5)]
    idents = {(await future).result for future in waiting}
    await thread.stop()

    assert order == [0, 1, 2, 3, 4]
    assert len(idents) == 1
    assert idents != {threading.get_ident()}


async def test_a_call_that_raises_fails_alone() -> None:
    """The error is chained to the cause, and the thread goes on."""
    thread = DeviceThread(Deaths())
    thread.start()

    with pytest.raises(EngineFailed) as failure:
        await thread.run(lambda: 1 / 0)
    timed = await thread.run(lambda: 7)
    await thread.stop()

    assert isinstance(failure.value.__cause__, ZeroDivisionError)
    assert timed.result == 7
    assert timed.started <= timed.ended


async def test_a_death_fails_everything_that_waits() -> None:
    """Each waiting call learns of the death; it is reported once; a new thread works."""
    deaths = Deaths()
    thread = DeviceThread(deaths)
    thread.start()

    waiting: list[asyncio.Future[Any]] = [thread.run(die), thread.run(int), thread.run(float)]
    for future in waiting:
        with pytest.raises(EngineLost):
            await future
    with pytest.raises(EngineLost):
        await thread.run(lambda: 3)
    thread.start()
    revived = await thread.run(lambda: 4)
    await thread.stop()

    assert (deaths.count, revived.result) == (1, 4)


async def test_stopping_finishes_what_has_come_and_is_no_death() -> None:
    """Calls before the stop are answered."""
    deaths = Deaths()
    thread = DeviceThread(deaths)
    thread.start()

    future = thread.run(lambda: 5)
    await thread.stop()

    assert ((await future).result, deaths.count) == (5, 0)


async def test_a_cancelled_call_harms_nobody() -> None:
    """Its result is dropped; while it runs the thread counts as busy."""
    thread = DeviceThread(Deaths())
    thread.start()
    gate = threading.Event()

    cancelled = thread.run(gate.wait)
    cancelled.cancel()
    await asyncio.wait([cancelled])
    is_idle = thread.is_idle
    gate.set()
    after = await thread.run(lambda: 6)
    await thread.stop()

    assert (is_idle, after.result) == (False, 6)
