"""Parsing beside the event loop: its turn comes, however many bodies there are."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from service.api.parsing import LARGE_BYTES, QUICK_BYTES, ParsingLanes

pytestmark = pytest.mark.anyio


async def test_quick_work_needs_no_thread() -> None:
    """It is done where it is."""
    thread = await ParsingLanes().parse(threading.current_thread, QUICK_BYTES - 1)

    assert thread is threading.current_thread()


async def test_large_bodies_are_parsed_one_at_a_time() -> None:
    """In the order of their coming; a small one does not wait for them."""
    lanes, began = ParsingLanes(), list[str]()
    entered, gate = threading.Event(), threading.Event()

    def work(name: str) -> Callable[[], None]:
        def run() -> None:
            began.append(name)
            entered.set()
            gate.wait()

        return run

    large = [asyncio.ensure_future(lanes.parse(work(name), LARGE_BYTES + 1)) for name in "ab"]
    await asyncio.to_thread(entered.wait)
    small = await lanes.parse(lambda: list(began), QUICK_BYTES)
    gate.set()
    await asyncio.gather(*large)

    assert small == ["a"]
    assert began == ["a", "b"]


async def test_a_request_that_leaves_makes_room() -> None:
    """Work that nobody waits for any more ends, then the next begins."""
    lanes, gate = ParsingLanes(), threading.Event()
    waiting = asyncio.ensure_future(lanes.parse(gate.wait, LARGE_BYTES + 1))
    leaving = asyncio.ensure_future(lanes.parse(gate.wait, LARGE_BYTES + 1))
    await asyncio.to_thread(lambda: None)  # until both have their places
    leaving.cancel()
    gate.set()

    assert await waiting
    assert await lanes.parse(lambda: "next", LARGE_BYTES + 1) == "next"
