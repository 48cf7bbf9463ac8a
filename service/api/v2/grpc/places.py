"""How many messages may come in at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from service.errors import Overloaded, SlowBody

PATIENCE_S = 2.0  # 32 MB in this time are 130 Mbit/s

T = TypeVar("T")


class ReadingPlaces:
    """Bounds what is held of messages that are not whole yet; lives on the event loop.

    gRPC keeps what has come of a message to itself, and begins to take more than a first piece
    only where it is told to read: so many messages may be read at a time as fit, each as large as
    it may be, into the memory for bodies. Further ones wait for their turn. While somebody waits no
    message may take longer than a moment, so that clients that send nothing keep nobody out.

    Args:
        places: so many, one at least.
        timeout_s: how long a message may take to come, and wait for its turn.
        patience_s: how long it may take while others wait.
    """

    def __init__(self, places: int, timeout_s: float, patience_s: float = PATIENCE_S) -> None:
        self._places = asyncio.Semaphore(max(1, places))
        self._timeout_s = timeout_s
        self._patience_s = patience_s
        self._waiting = 0
        self._reading: dict[asyncio.Timeout, float] = {}  # since when

    async def read(self, receive: Callable[[], Awaitable[T]]) -> T:
        """Read a message.

        Raises:
            Overloaded: its turn has not come.
            SlowBody: it took too long.
        """
        await self._take_place()
        timer = asyncio.timeout(self._timeout_s)
        try:
            async with timer:
                self._reading[timer] = asyncio.get_running_loop().time()
                if self._waiting:
                    self._hurry(timer)
                return await receive()
        except TimeoutError as error:
            raise SlowBody("the message has not come in the time that it may take") from error
        finally:
            self._reading.pop(timer, None)
            self._places.release()

    async def _take_place(self) -> None:
        self._waiting += 1
        try:
            if self._places.locked():
                for timer in self._reading:
                    self._hurry(timer)
            async with asyncio.timeout(self._timeout_s):
                await self._places.acquire()
        except TimeoutError as error:
            raise Overloaded("other messages come in, and this one's turn did not") from error
        finally:
            self._waiting -= 1

    def _hurry(self, timer: asyncio.Timeout) -> None:
        moment = self._reading[timer] + self._patience_s
        if not timer.expired() and moment < (timer.when() or moment + 1):
            timer.reschedule(moment)
