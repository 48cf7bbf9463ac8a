"""Parsing beside the event loop, which it would starve: all of it holds the GIL."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from service.api.cancellation import off_the_loop

QUICK_BYTES = 65_536  # some 2 ms: not worth a thread
LARGE_BYTES = 1_000_000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ParsingLanes:
    """Lets one large body and one small one be parsed at a time; the others wait in order.

    More at once would not be done sooner, and the event loop's turn would come among all of them.
    Bodies have their own bound, which those that wait count by.
    """

    large: asyncio.Lock = field(default_factory=asyncio.Lock)
    small: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def parse(
        self, work: Callable[[], T], size_bytes: int, quick_bytes: int = QUICK_BYTES
    ) -> T:
        """Parse a body of that size: on a thread if it has more bytes than are parsed quickly."""
        if size_bytes < quick_bytes:
            return work()
        async with self.large if size_bytes > LARGE_BYTES else self.small:
            return await off_the_loop(work)
