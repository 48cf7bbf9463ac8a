"""A store that is looked at by an alarm that tests ring."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import pytest
from structlog.testing import capture_logs

from service.errors import MissingFile
from service.serving.store_watch import StoreWatch
from service.store.model_store import Look
from tests.fakes import FakeTimer
from tests.running import Running, grey, running, until
from tests.serving.version_shelf import Engines, Shelf

pytestmark = pytest.mark.anyio


@dataclass(slots=True)
class Watched:
    """A store under watch; `looks` and `acted` say how often something happened."""

    timer: FakeTimer = field(default_factory=FakeTimer)
    content: Look = (("tiny/1", "a"),)
    error: Exception | None = None
    looks: int = 0
    acted: int = 0
    settles: bool = True

    def look(self) -> Look:
        """See what is there."""
        self.looks += 1
        if self.error is not None:
            raise self.error
        return self.content

    async def act(self) -> bool:
        """Count it."""
        self.acted += 1
        return self.settles

    async def ring(self, times: int = 1) -> int:
        """Let the alarm ring, and say how often something was done so far."""
        for _ in range(times):
            before = self.looks
            self.timer.advance(10)
            await until(partial(self._has_looked, before))
        return self.acted

    async def _has_looked(self, before: int) -> bool:
        return self.looks > before and bool(self.timer.alarms)

    def watch(self) -> StoreWatch:
        """A watch that has begun."""
        watch = StoreWatch(self.look, self.act, self.timer, 10)
        watch.start()
        return watch


async def test_a_change_is_acted_on_once_it_has_ended() -> None:
    """A copy under way is not touched: two looks have to see the same."""
    store = Watched()
    store.watch()
    acted = [await store.ring(3)]
    store.content = (("tiny/1", "a"), ("tiny/2", "half"))
    acted.append(await store.ring())
    store.content = (("tiny/1", "a"), ("tiny/2", "whole"))
    acted += [await store.ring(), await store.ring(), await store.ring(3)]

    assert acted == [1, 1, 1, 2, 2]


async def test_a_store_that_cannot_be_looked_at_changes_nothing() -> None:
    """As a volume that is away for a moment; the looks go on."""
    store = Watched()
    store.watch()
    before = await store.ring(2)
    store.error = MissingFile("the volume is not there")
    away = await store.ring(3)
    store.error = None
    back = await store.ring(2)

    assert (before, away, back, store.looks) == (1, 1, 1, 7)


async def test_a_look_that_ends_in_a_way_nobody_foresaw_is_followed_by_the_next() -> None:
    """A watch that ended would say nothing, and nobody would miss it."""
    store = Watched()
    watch = store.watch()
    store.error = ZeroDivisionError("a fault of ours")
    with capture_logs() as lines:
        away = await store.ring(2)
        store.error = None
        back = await store.ring(2)
        await watch.stop()

    assert (away, back, store.looks) == (0, 1, 4)
    assert [line["reason"] for line in lines] == ["ZeroDivisionError('a fault of ours')"] * 2


async def test_what_may_pass_is_tried_again_by_growing_pauses() -> None:
    """Until it has, or the store changes, which begins anew."""
    store = Watched(settles=False)
    store.watch()
    acted = [await store.ring() for _ in range(12)]
    store.content = ()
    changed = [await store.ring() for _ in range(4)]
    store.settles = True
    passed = [await store.ring() for _ in range(4)]

    assert acted == [0, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3, 4]
    assert changed == [4, 5, 5, 6]
    assert passed == [6, 6, 7, 7]


async def test_a_change_that_is_taken_back_is_acted_on() -> None:
    """What was made of it may have failed, and is to be forgotten."""
    store = Watched()
    store.watch()
    before, first = store.content, await store.ring(2)
    store.content, store.settles = (), False
    second = await store.ring(2)
    store.content, store.settles = before, True
    third = await store.ring(2)

    assert (first, second, third) == (1, 2, 3)


async def test_nothing_rings_any_more_after_the_end() -> None:
    """Nor does anything before the first alarm."""
    store = Watched()
    watch = store.watch()
    store.timer.advance(5)
    await watch.stop()
    store.timer.advance(100)
    await asyncio.sleep(0)

    assert (store.looks, store.timer.alarms) == (0, [])


async def test_a_look_under_way_at_the_end_sets_no_alarm() -> None:
    """Else the watch would outlive its service."""
    may_end, begun = threading.Event(), threading.Event()

    def look() -> Look:
        begun.set()
        may_end.wait()
        return ()

    timer = FakeTimer()
    watch = StoreWatch(look, Watched().act, timer, 10)
    watch.start()
    timer.advance(10)
    await asyncio.to_thread(begun.wait)
    await watch.stop()
    may_end.set()

    assert timer.alarms == []


async def test_a_version_that_appears_is_served() -> None:
    """Of a service that polls its store; one that does not sets no alarm at all."""
    shelf, timer = Shelf(), FakeTimer()
    shelf.put(1)
    async with (
        running(source=shelf, engines=Engines().plan, store_poll_s=10, timer=timer) as service,
        running(source=shelf, engines=Engines().plan) as still,
    ):
        shelf.put(1, 2)
        await until(partial(is_served, service, "2", lambda: timer.advance(10)))
        reply = await service.predict(grey(1))
        alarms = len(timer.alarms)

    assert reply.json()["model"]["version"] == "2"
    assert [model.version for model in still.runtime.models] == ["1"]
    assert (alarms, timer.alarms) == (1, [])


async def is_served(service: Running, version: str, ring: Callable[[], None]) -> bool:
    """Whether a version answers; else the alarm rings."""
    ring()
    return [model.version for model in service.runtime.models] == [version]
