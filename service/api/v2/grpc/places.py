"""How many messages may come in at a time, and whose turn it is."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

from service.errors import Overloaded, SlowBody

PATIENCE_S = 2.0  # 32 MB in this time are 130 Mbit/s

T = TypeVar("T")


class ReadingPlaces:
    """Bounds what is held of messages that are not whole yet; lives on the event loop.

    gRPC keeps what has come of a message to itself, and begins to take more than a first piece
    only where it is told to read: so many messages may be read at a time as fit, each as large as
    it may be, into the memory for bodies. Further ones wait for their turn. Connections take turns,
    and one alone has no more than half of the places, so that however many calls it begins and
    sends nothing, others find room. Who stands in another's way has but a moment.

    Args:
        places: so many, one at least.
        timeout_s: how long a message may take to come, and wait for its turn.
        patience_s: how long it may take while others wait for its place.
    """

    def __init__(self, places: int, timeout_s: float, patience_s: float = PATIENCE_S) -> None:
        self._free = max(1, places)
        self._most = (self._free + 1) // 2  # for one connection
        self._timeout_s = timeout_s
        self._patience_s = patience_s
        self._held: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # who is next comes first
        self._reading: dict[asyncio.Timeout, tuple[str, float]] = {}  # whose, and since when

    async def read(self, receive: Callable[[], Awaitable[T]], peer: str) -> T:
        """Read a message.

        Args:
            receive: waits for it.
            peer: the connection that it comes by.

        Raises:
            Overloaded: its turn has not come.
            SlowBody: it took too long.
        """
        await self._take_place(peer)
        timer = asyncio.timeout(self._timeout_s)
        try:
            async with timer:
                self._reading[timer] = peer, asyncio.get_running_loop().time()
                self._hurry()
                return await receive()
        except TimeoutError as error:
            raise SlowBody("the message has not come in the time that it may take") from error
        finally:
            self._reading.pop(timer, None)
            self._give_back(peer)

    async def _take_place(self, peer: str) -> None:
        if self._free and self._may_have_more(peer):
            self._take(peer)
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(peer, deque()).append(turn)
        self._hurry()
        try:
            async with asyncio.timeout(self._timeout_s):
                await turn
        except BaseException as error:
            self._leave(peer, turn)
            if isinstance(error, TimeoutError):
                raise Overloaded("other messages come in, this one's turn did not") from error
            raise

    def _may_have_more(self, peer: str) -> bool:
        return self._held[peer] < self._most

    def _take(self, peer: str) -> None:
        self._free -= 1
        self._held[peer] += 1

    def _give_back(self, peer: str) -> None:
        self._free += 1
        self._held[peer] -= 1
        if not self._held[peer]:
            del self._held[peer]
        self._call_next()

    def _call_next(self) -> None:
        """Give a place that is free to who waits for one: the connection that had none longest."""
        while (following := next(filter(self._may_have_more, self._waiting), None)) is not None:
            turns = self._waiting.pop(following)
            turn = turns.popleft()
            if turns:
                self._waiting[following] = turns
            if not turn.done():  # else it was cancelled, and its call has not heard of that yet
                turn.set_result(None)
                self._take(following)
                return

    def _leave(self, peer: str, turn: asyncio.Future[None]) -> None:
        """Wait no longer; a place that was just given goes back."""
        if not turn.cancelled():
            self._give_back(peer)
            return
        turns = self._waiting.get(peer, deque())
        with contextlib.suppress(ValueError):  # it was passed over already
            turns.remove(turn)
        if not turns:
            self._waiting.pop(peer, None)

    def _hurry(self) -> None:
        """Bound the time of those in whose place another would read."""
        are_wanted = not self._free and any(map(self._may_have_more, self._waiting))
        for timer, (peer, since) in self._reading.items():
            moment = since + self._patience_s
            is_wanted = are_wanted or peer in self._waiting
            if is_wanted and not timer.expired() and moment < (timer.when() or moment + 1):
                timer.reschedule(moment)
