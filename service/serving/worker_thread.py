"""A thread of its own for calls that take long: it owns a device, or builds engines."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from service.errors import EngineFailed, EngineLost

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Timed(Generic[T]):
    """A call's result, and when the device began and ended it (seconds of `time.monotonic`)."""

    result: T
    started: float
    ended: float


@dataclass(frozen=True, slots=True)
class _Call:
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    future: asyncio.Future[Any]


_Calls = queue.SimpleQueue[_Call | None]


class WorkerThread:
    """Runs calls on a thread of its own, one at a time, in the order they came.

    Everything but the calls themselves happens on the event loop that called `start`. An
    `Exception` of a call fails that call alone. Three things are a crash, after which every
    waiting future fails with `EngineLost`, `on_crash` is called once and `start` makes a new
    thread: a call raised `EngineLost`, or what is no `Exception`, or it took longer than
    `hang_after_s`. A thread cannot be stopped from outside: one that hangs is given up, and
    nobody hears of what it still does.

    Args:
        on_crash: called on the event loop after the thread died by itself.
        name: of the thread, as it appears in a debugger.
        hang_after_s: how long a call may run; None lets it run for ever.
    """

    def __init__(
        self,
        on_crash: Callable[[EngineLost], None],
        name: str = "engine",
        hang_after_s: float | None = None,
    ) -> None:
        self._on_crash = on_crash
        self._name = name
        self._hang_after_s = hang_after_s
        self._calls: _Calls = queue.SimpleQueue()  # each thread has its own
        self._waiting: set[asyncio.Future[Any]] = set()
        self._ended = asyncio.Event()
        self._ended.set()
        self._is_stopping = False
        self._unfinished = 0
        self._alarm: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start the thread; call it again after a crash."""
        self._calls = queue.SimpleQueue()
        self._ended.clear()
        self._is_stopping = False
        work = threading.Thread(
            target=self._work,
            args=(self._calls, asyncio.get_running_loop()),
            name=self._name,
            daemon=True,
        )
        work.start()

    def run(self, function: Callable[..., T], *arguments: Any) -> asyncio.Future[Timed[T]]:
        """Call `function` on the thread.

        Cancelling the future does not stop the call; its result is dropped.

        Raises:
            EngineFailed: from the future, when the call raised; the cause is chained.
            EngineLost: from the future, when the thread died.
        """
        future: asyncio.Future[Timed[T]] = asyncio.get_running_loop().create_future()
        if self._ended.is_set():
            future.set_exception(EngineLost("the engine's thread is not running"))
            return future
        self._waiting.add(future)
        future.add_done_callback(self._waiting.discard)
        self._calls.put(_Call(function, arguments, future))
        self._unfinished += 1
        if self._unfinished == 1:
            self._watch()
        return future

    @property
    def is_running(self) -> bool:
        """Whether there is a thread to run calls."""
        return not self._ended.is_set()

    @property
    def is_idle(self) -> bool:
        """Whether no call runs or waits, those included whose callers have left."""
        return self._unfinished == 0

    async def stop(self) -> None:
        """Let the calls that have come finish, then end the thread."""
        self._is_stopping = True
        self._calls.put(None)
        await self._ended.wait()

    def _watch(self) -> None:
        """Set the alarm for the call that begins now; without one there is none."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = None
        if self._hang_after_s is not None and self._unfinished:
            loop = asyncio.get_running_loop()
            self._alarm = loop.call_later(self._hang_after_s, self._give_up, self._calls)

    def _give_up(self, calls: _Calls) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                calls.get_nowait()
        calls.put(None)  # should the call return after all, its thread ends
        self._on_end(calls, TimeoutError(f"a call that ran longer than {self._hang_after_s:g} s"))

    def _work(self, calls: _Calls, loop: asyncio.AbstractEventLoop) -> None:
        lost: EngineLost | None = None
        try:
            while lost is None and (call := calls.get()) is not None:
                outcome = _outcome_of(call)
                if isinstance(outcome, EngineLost):
                    lost = outcome  # settled with all others, before anybody sends more
                else:
                    _post(loop, self._settle, calls, call.future, outcome)
        finally:  # what is no `Exception` ends the thread here
            _post(loop, self._on_end, calls, lost or sys.exception())

    def _settle(
        self, calls: _Calls, future: asyncio.Future[Any], outcome: Timed[Any] | EngineFailed
    ) -> None:
        if calls is not self._calls or self._ended.is_set():
            return  # of a thread that was given up
        self._unfinished -= 1
        self._watch()
        if future.done():
            return
        if isinstance(outcome, EngineFailed):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

    def _on_end(self, calls: _Calls, cause: BaseException | None) -> None:
        if calls is not self._calls or self._ended.is_set():
            return
        self._ended.set()
        self._unfinished = 0
        self._watch()
        for future in list(self._waiting):
            if not future.done():
                future.set_exception(_lost_by(cause))
        if not self._is_stopping:
            self._on_crash(_lost_by(cause))


def _lost_by(cause: BaseException | None) -> EngineLost:
    """A new error each time: futures that share one would add to each other's traceback."""
    is_told = isinstance(cause, EngineLost)
    lost = EngineLost(str(cause) if is_told else f"the engine crashed by {cause!r}")
    lost.__cause__ = cause
    return lost


def _outcome_of(call: _Call) -> Timed[Any] | EngineFailed:
    started = time.monotonic()
    try:
        result = call.function(*call.arguments)
    except (EngineLost, SystemExit) as cause:
        return _lost_by(cause)
    except EngineFailed as told:  # says itself what went wrong
        return told
    except Exception as error:  # noqa: BLE001 - a model may raise anything; the thread must live
        failure = EngineFailed(f"the engine raised {type(error).__name__}: {error}")
        failure.__cause__ = error
        return failure
    return Timed(result, started, time.monotonic())


def _post(loop: asyncio.AbstractEventLoop, callback: Callable[..., None], *arguments: Any) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has closed: nobody is left to be told
        loop.call_soon_threadsafe(callback, *arguments)
