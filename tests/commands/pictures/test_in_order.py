"""Many things at once, their results in order."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from service.commands.pictures.in_order import in_order

pytestmark = pytest.mark.anyio


async def test_results_are_in_the_order_of_the_entries() -> None:
    """Whichever is done first."""
    done = [asyncio.Event() for _ in range(3)]

    async def call(entry: int) -> int:
        if entry < 2:
            await done[entry + 1].wait()
        done[entry].set()
        return 10 * entry

    assert [results async for results in in_order(call, range(3), 3)] == [[0, 10, 20]]


async def test_no_more_than_the_limit_are_under_way() -> None:
    """Nor are further entries taken: a million files are never all known."""
    taken: list[int] = []

    def entries() -> Iterator[int]:
        for entry in range(100):
            taken.append(entry)
            yield entry

    async def call(entry: int) -> int:
        return entry

    results = in_order(call, entries(), 4)

    assert (await anext(results))[0] == 0
    assert taken == [0, 1, 2, 3]
    rest = [result async for part in results for result in part]
    assert taken == list(range(100))
    assert rest[-1] == 99


async def test_an_error_ends_all_and_cancels_what_is_under_way() -> None:
    """It comes in its turn, after the results before it."""
    cancelled: list[int] = []

    async def call(entry: int) -> int:
        if entry == 1:
            raise ArithmeticError
        if entry == 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(entry)
                raise
        return entry

    results = in_order(call, range(3), 3)

    assert await anext(results) == [0]
    with pytest.raises(ArithmeticError):
        await anext(results)
    assert cancelled == [2]
