"""The thread that owns a device."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from service.errors import EngineFailed, EngineLost
from service.serving.worker_thread import WorkerThread

pytestmark = pytest.mark.anyio


class Crashes:
    """Remembers crashes."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.told = asyncio.Event()

    def __call__(self, error: EngineLost) -> None:
        """A thread died."""
        self.messages.append(error.message)
        self.told.set()


def die() -> None:
    """End the thread that calls it."""
    raise SystemExit


async def test_calls_run_on_one_thread_in_order() -> None:
    """Every call sees the same thread, which is not the caller's, in the order of the calls."""
    thread = WorkerThread(Crashes())
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
    thread = WorkerThread(Crashes())
    thread.start()

    with pytest.raises(EngineFailed) as failure:
        await thread.run(lambda: 1 / 0)
    timed = await thread.run(lambda: 7)
    await thread.stop()

    assert isinstance(failure.value.__cause__, ZeroDivisionError)
    assert timed.result == 7
    assert timed.started <= timed.ended


async def test_a_crash_fails_everything_that_waits() -> None:
    """Each waiting call learns of the crash; it is reported once; a new thread works."""
    crashes = Crashes()
    thread = WorkerThread(crashes)
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

    assert (crashes.messages, revived.result) == (["the engine crashed by SystemExit()"], 4)


async def test_whoever_hears_of_a_crash_finds_it_reported() -> None:
    """Otherwise the next call would be sent to a thread that has ended."""
    crashes = Crashes()
    thread = WorkerThread(crashes)
    seen: list[tuple[bool, int]] = []

    def lose() -> None:
        raise EngineLost("every call on the device fails")

    for _ in range(20):
        thread.start()
        future = thread.run(lose)
        future.add_done_callback(lambda _: seen.append((thread.is_running, len(crashes.messages))))
        with pytest.raises(EngineLost):
            await future

    assert seen == [(False, number + 1) for number in range(20)]


async def test_a_lost_device_is_a_crash() -> None:
    """A call that finds its device lost ends the thread: no later call could succeed."""
    crashes = Crashes()
    thread = WorkerThread(crashes)
    thread.start()

    def lose() -> None:
        raise EngineLost("every call on the device fails")

    waiting: list[asyncio.Future[Any]] = [thread.run(lose), thread.run(int)]
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    await crashes.told.wait()

    assert [type(outcome) for outcome in outcomes] == [EngineLost, EngineLost]
    assert (len(crashes.messages), thread.is_running) == (1, False)


async def test_a_hung_call_is_a_crash() -> None:
    """The thread is given up with what waits behind the call, and nothing of it runs later."""
    crashes = Crashes()
    thread = WorkerThread(crashes, hang_after_s=0.05)
    thread.start()
    gate = threading.Event()
    late: list[int] = []

    hung, behind = thread.run(gate.wait), thread.run(late.append, 1)
    outcomes = await asyncio.gather(hung, behind, return_exceptions=True)
    old = next(t for t in threading.enumerate() if t.name == "engine")
    thread.start()
    gate.set()
    await asyncio.to_thread(old.join)
    after = await thread.run(lambda: 8)
    await thread.stop()

    assert [type(outcome) for outcome in outcomes] == [EngineLost, EngineLost]
    assert crashes.messages == [
        "the engine crashed by TimeoutError('a call that ran longer than 0.05 s')"
    ]
    assert (late, after.result) == ([], 8)


async def test_each_call_has_the_whole_time() -> None:
    """The alarm is set anew for every call, and an idle thread has none."""
    crashes = Crashes()
    thread = WorkerThread(crashes, hang_after_s=60)
    thread.start()
    gates = [threading.Event(), threading.Event()]

    first, second = (thread.run(gate.wait) for gate in gates)
    alarms = [thread._alarm]
    gates[0].set()
    await first
    alarms.append(thread._alarm)
    gates[1].set()
    await second
    idle = thread._alarm
    await thread.stop()

    assert len({id(alarm) for alarm in alarms if alarm is not None}) == 2
    assert (idle, crashes.messages) == (None, [])


async def test_stopping_finishes_what_has_come_and_is_no_crash() -> None:
    """Calls before the stop are answered."""
    crashes = Crashes()
    thread = WorkerThread(crashes)
    thread.start()

    future = thread.run(lambda: 5)
    await thread.stop()

    assert ((await future).result, crashes.messages) == (5, [])


async def test_a_cancelled_call_harms_nobody() -> None:
    """Its result is dropped; while it runs the thread counts as busy."""
    thread = WorkerThread(Crashes())
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
