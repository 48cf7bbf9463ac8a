"""Work on many things at once, so many at a time, with results in the order of the things."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TypeVar

E = TypeVar("E")
R = TypeVar("R")


async def in_order(
    function: Callable[[E], Awaitable[R]], entries: Iterable[E], limit: int
) -> AsyncIterator[list[R]]:
    """Call a function on each entry, and give its results in the order of the entries.

    At most `limit` calls are under way or have results that nobody took yet, and an entry is taken
    only when its call begins: memory is bounded however many there are. Closing the iterator
    cancels what is under way. What a call raises comes in the place of its result, and ends all.

    Args:
        function: what is called.
        entries: taken one by one.
        limit: at least 1.

    Returns:
        Results as soon as they are known: all that follow one another, at least one.
    """
    under_way: deque[asyncio.Future[R]] = deque()
    try:
        for entry in entries:
            under_way.append(asyncio.ensure_future(function(entry)))
            if len(under_way) == limit:
                yield await _known(under_way)
        while under_way:
            yield await _known(under_way)
    finally:
        for call in under_way:
            call.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


async def _known(under_way: deque[asyncio.Future[R]]) -> list[R]:
    """Wait for the first result, and take with it those that are there behind it."""
    results = [await under_way.popleft()]
    while under_way and _has_result(under_way[0]):
        results.append(under_way.popleft().result())
    return results


def _has_result(call: asyncio.Future[R]) -> bool:
    return call.done() and not call.cancelled() and call.exception() is None
