"""The one thread that owns a device."""

from __future__ import annotations

import asyncio
import queue
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


class DeviceThread:
    """Runs calls on a thread of its own, one at a time, in the order they came.

    Everything but the calls themselves happens on the event loop that called `start`. An
    `Exception` of a call fails that call alone. Anything harsher ends the thread: then every
    waiting future fails with `EngineLost`, and `on_death` is called once; `start` makes a new
    thread.

    Args:
        on_death: called on the event loop after the thread died by itself.
        name: of the thread, as it appears in a debugger.
    """

    def __init__(self, on_death: Callable[[], None], name: str = "engine") -> None:
        self._on_death = on_death
        self._name = name
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._waiting: set[asyncio.Future[Any]] = set()
        self._ended = asyncio.Event()
        self._ended.set()
        self._is_stopping = False
        self._unfinished = 0

    def start(self) -> None:
        """Start the thread; call it again after a death."""
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
        self._unfinished += 1
        self._waiting.add(future)
        future.add_done_callback(self._waiting.discard)
        self._calls.put(_Call(function, arguments, future))
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

    def _work(
        self, calls: queue.SimpleQueue[_Call | None], loop: asyncio.AbstractEventLoop
    ) -> None:
        death: BaseException | None = None
        try:
            while (call := calls.get()) is not None:
                outcome = _outcome_of(call)
                loop.call_soon_threadsafe(self._settle, call.future, outcome)
        except BaseException as error:  # noqa: BLE001 - the thread ends with it, and says of what
            death = error
        loop.call_soon_threadsafe(self._on_end, death)

    def _settle(self, future: asyncio.Future[Any], outcome: Timed[Any] | EngineFailed) -> None:
        self._unfinished -= 1
        if future.done():
            return
        if isinstance(outcome, EngineFailed):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

    def _on_end(self, death: BaseException | None) -> None:
        self._ended.set()
        self._unfinished = 0
        for future in list(self._waiting):
            if not future.done():
                lost = EngineLost(f"the engine's thread died of {death!r}")
                lost.__cause__ = death
                future.set_exception(lost)
        if not self._is_stopping:
            self._on_death()


def _outcome_of(call: _Call) -> Timed[Any] | EngineFailed:
    started = time.monotonic()
    try:
        result = call.function(*call.arguments)
    except Exception as error:  # noqa: BLE001 - a model may raise anything; the thread must live
        failure = EngineFailed(f"the engine raised {type(error).__name__}: {error}")
        failure.__cause__ = error
        return failure
    return Timed(result, started, time.monotonic())
