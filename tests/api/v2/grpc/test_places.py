"""How many messages come in at a time, and who gives way."""

from __future__ import annotations

import asyncio

import pytest

from service.api.v2.grpc.places import ReadingPlaces
from service.errors import Overloaded, SlowBody

pytestmark = pytest.mark.anyio

LONG_S = 300.0


async def nothing() -> bytes:
    """A message that never comes."""
    await asyncio.get_running_loop().create_future()
    return b""


async def something() -> bytes:
    """A message that is there."""
    return b"message"


async def test_a_message_takes_its_place_and_gives_it_back() -> None:
    """One after the other through one place."""
    places = ReadingPlaces(1, LONG_S)

    assert [await places.read(something) for _ in range(3)] == [b"message"] * 3


async def test_who_sends_nothing_gives_way_to_who_waits() -> None:
    """And is told why; without anybody who waits it would have its time."""
    places = ReadingPlaces(1, LONG_S, patience_s=0)
    silent = asyncio.ensure_future(places.read(nothing))
    await asyncio.sleep(0)

    assert await places.read(something) == b"message"
    with pytest.raises(SlowBody):
        await silent


async def test_who_begins_while_others_wait_has_little_time() -> None:
    """A row of silent clients keeps nobody out for longer than each one's moment."""
    places = ReadingPlaces(1, LONG_S, patience_s=0)
    silent = [asyncio.ensure_future(places.read(nothing)) for _ in range(5)]
    await asyncio.sleep(0)

    assert await places.read(something) == b"message"

    ended = await asyncio.gather(*silent, return_exceptions=True)
    assert [type(error) for error in ended] == [SlowBody] * 5


async def test_a_message_may_take_its_time_and_no_more() -> None:
    """As a body over HTTP."""
    places = ReadingPlaces(1, timeout_s=0)

    with pytest.raises(SlowBody):
        await places.read(nothing)


async def test_who_waits_too_long_is_told_that_there_is_no_room() -> None:
    """The place stays whose it is."""
    places = ReadingPlaces(1, timeout_s=0.05)

    ended = await asyncio.gather(*[places.read(nothing) for _ in range(4)], return_exceptions=True)

    assert {type(error) for error in ended} == {SlowBody, Overloaded}


async def test_a_reader_that_is_cancelled_gives_its_place_back() -> None:
    """Also one that only waited for it."""
    places = ReadingPlaces(1, LONG_S)
    reading, waiting = (asyncio.ensure_future(places.read(nothing)) for _ in range(2))
    await asyncio.sleep(0)
    for task in (waiting, reading):
        task.cancel()

    assert await places.read(something) == b"message"
