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

    assert [await places.read(something, "a") for _ in range(3)] == [b"message"] * 3


async def test_who_sends_nothing_gives_way_to_who_waits() -> None:
    """And is told why; without anybody who waits it would have its time."""
    places = ReadingPlaces(1, LONG_S, patience_s=0)
    silent = asyncio.ensure_future(places.read(nothing, "a"))
    await asyncio.sleep(0)

    assert await places.read(something, "a") == b"message"
    with pytest.raises(SlowBody):
        await silent


async def test_who_begins_while_others_wait_has_little_time() -> None:
    """A row of silent clients keeps nobody out for longer than each one's moment."""
    places = ReadingPlaces(1, LONG_S, patience_s=0)
    silent = [asyncio.ensure_future(places.read(nothing, "a")) for _ in range(5)]
    await asyncio.sleep(0)

    assert await places.read(something, "a") == b"message"

    ended = await asyncio.gather(*silent, return_exceptions=True)
    assert [type(error) for error in ended] == [SlowBody] * 5


async def test_a_message_may_take_its_time_and_no_more() -> None:
    """As a body over HTTP."""
    places = ReadingPlaces(1, timeout_s=0)

    with pytest.raises(SlowBody):
        await places.read(nothing, "a")


async def test_who_waits_too_long_is_told_that_there_is_no_room() -> None:
    """The place stays whose it is."""
    places = ReadingPlaces(1, timeout_s=0.05)

    ended = await asyncio.gather(
        *[places.read(nothing, "a") for _ in range(4)], return_exceptions=True
    )

    assert {type(error) for error in ended} == {SlowBody, Overloaded}


async def test_a_reader_that_is_cancelled_gives_its_place_back() -> None:
    """Also one that only waited for it."""
    places = ReadingPlaces(1, LONG_S)
    reading, waiting = (asyncio.ensure_future(places.read(nothing, "a")) for _ in range(2))
    await asyncio.sleep(0)
    for task in (waiting, reading):
        task.cancel()

    assert await places.read(something, "a") == b"message"


async def test_a_connection_has_no_more_than_half_of_the_places() -> None:
    """However many silent calls it begins, another one's message is read at once."""
    places = ReadingPlaces(4, LONG_S)
    silent = [asyncio.ensure_future(places.read(nothing, "a")) for _ in range(200)]
    await asyncio.sleep(0)

    read = [await places.read(something, "b") for _ in range(3)]
    still_there = [not call.done() for call in silent]
    for call in silent:
        call.cancel()
    await asyncio.gather(*silent, return_exceptions=True)
    again = await places.read(something, "a")

    assert (read, again) == ([b"message"] * 3, b"message")
    assert all(still_there)


async def test_connections_take_turns() -> None:
    """Who has sent much waits behind its own, and nobody else does."""
    places, gate = ReadingPlaces(1, LONG_S), asyncio.Event()
    read: list[str] = []

    async def read_of(name: str) -> None:
        async def receive() -> None:
            await gate.wait()
            read.append(name)

        await places.read(receive, name[0])

    names = ("a1", "a2", "a3", "b1", "c1", "b2")
    calls = [asyncio.ensure_future(read_of(name)) for name in names]
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(*calls)

    assert read == ["a1", "a2", "b1", "c1", "a3", "b2"]


async def test_a_turn_that_came_as_its_call_ended_goes_to_the_next() -> None:
    """No place is lost."""
    places = ReadingPlaces(1, LONG_S)
    reading, waiting = (asyncio.ensure_future(places.read(nothing, "a")) for _ in range(2))
    await asyncio.sleep(0)
    reading.cancel()
    waiting.cancel()
    await asyncio.gather(reading, waiting, return_exceptions=True)

    assert await places.read(something, "b") == b"message"


async def test_who_stands_in_nobodys_way_has_its_time() -> None:
    """Though another connection's calls wait for each other."""
    places = ReadingPlaces(4, LONG_S, patience_s=0)
    slow = asyncio.ensure_future(places.read(nothing, "b"))
    silent = [asyncio.ensure_future(places.read(nothing, "a")) for _ in range(3)]
    ended = await asyncio.gather(*silent[:2], return_exceptions=True)
    is_left_alone = not slow.done()
    for call in (slow, silent[2]):
        call.cancel()

    assert [type(error) for error in ended] == [SlowBody] * 2
    assert is_left_alone
