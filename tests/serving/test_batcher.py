"""The queue, its batches and its replies, around engines that the tests steer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import numpy as np
import pytest

from service.engines.base import Engine, EngineOutputs
from service.errors import DeadlineExceeded, EngineFailed, EngineLost, NotReady
from service.serving.batch_policy import Limits
from service.serving.batcher import Batcher
from service.serving.device_backlog import DeviceBacklog
from service.serving.worker_thread import WorkerThread
from tests.fakes import BLOCK, FakeEngine, FakeTimer, GatedEngine, Ran, Record, row_of

pytestmark = pytest.mark.anyio
NOTHING = frozenset[str]()
FAR = 10_000.0


class Bench:
    """A batcher with everything around it within reach of a test."""

    def __init__(self, engine: Engine, limits: Limits, workers: ThreadPoolExecutor) -> None:
        self.crashes = 0
        self.timer = FakeTimer()
        self.record = Record()
        self.device = WorkerThread(self._on_crash)
        self.batcher = Batcher(
            engine,
            self.device,
            workers,
            limits,
            backlog=DeviceBacklog(self.timer.time),
            timer=self.timer,
            observer=self.record,
        )

    def _on_crash(self, error: EngineLost) -> None:
        self.crashes += 1
        self.batcher.fail_queued(NotReady("restarting"))

    def submit(
        self, value: int, *blocks: str, deadline: float = FAR, priority: int = 2
    ) -> asyncio.Future[float]:
        """Queue a row; the future gives the logit that its reply holds."""
        (reply,) = self.batcher.submit([row_of(value)], frozenset(blocks), deadline, priority)

        async def logit() -> float:
            return float((await reply).logits[0])

        return asyncio.ensure_future(logit())


@asynccontextmanager
async def bench(engine: Engine, max_batch: int = 4, window_s: float = 0.0) -> AsyncIterator[Bench]:
    """Run a batcher and stop its thread afterwards."""
    with ThreadPoolExecutor(2) as workers:
        built = Bench(engine, Limits(max_batch, window_s), workers)
        built.device.start()
        yield built
        await built.device.stop()


async def settled(*replies: asyncio.Future[float]) -> list[float | str]:
    """Wait for every reply; an error counts as its class's name."""
    outcomes = await asyncio.gather(*replies, return_exceptions=True)
    return [o if isinstance(o, float) else type(o).__name__ for o in outcomes]


async def test_each_image_gets_its_own_answer() -> None:
    """Images that travel together are not mixed up."""
    async with bench(FakeEngine(), max_batch=3) as b:
        assert await settled(*(b.submit(value) for value in range(10))) == list(range(10))


async def test_images_that_come_while_the_engine_works_travel_together() -> None:
    """The first image leaves alone and at once, the rest as one batch."""
    engine = GatedEngine()
    async with bench(engine, max_batch=8) as b:
        first = b.submit(1)
        assert await engine.entered() == (1,)
        rest = [b.submit(value) for value in (2, 3, 4)]
        engine.open(2)
        await settled(first, *rest)

    assert [ran.values for ran in engine.ran] == [(1,), (2, 3, 4)]
    assert b.record.batches == [1, 3]


async def test_a_full_batch_is_handed_over_while_another_runs() -> None:
    """The engine's thread finds a full batch waiting; what comes later stays queued."""
    engine = GatedEngine()
    async with bench(engine, max_batch=2) as b:
        replies = [b.submit(value) for value in range(6)]
        await engine.entered()
        assert b.batcher.depth == 3

        engine.open(4)
        await settled(*replies)

    assert [ran.values for ran in engine.ran] == [(0,), (1, 2), (3, 4), (5,)]


async def test_the_more_important_leave_first() -> None:
    """Whoever came before them; of one class in the order in which they came."""
    engine = GatedEngine()
    async with bench(engine, max_batch=2) as b:
        first = b.submit(0)
        await engine.entered()
        stacked = [b.submit(value, priority=3) for value in (1, 2)]  # full: it leaves at once
        classes = {3: 3, 4: 2, 5: 1, 6: 3, 7: 1, 8: 2}
        rest = [b.submit(value, priority=level) for value, level in classes.items()]
        engine.open(5)
        await settled(first, *stacked, *rest)

    assert [ran.values for ran in engine.ran] == [(0,), (1, 2), (5, 7), (4, 8), (3, 6)]


async def test_few_wait_a_moment_for_those_who_were_answered() -> None:
    """One image after a batch of four leaves when the moment is over, or two are there."""
    engine = GatedEngine()
    async with bench(engine) as b:
        first = b.submit(0)
        await engine.entered()
        many = [b.submit(value) for value in (1, 2, 3, 4)]
        alone = b.submit(5)
        engine.open(3)
        await settled(first, *many)
        assert b.batcher.depth == 1

        b.timer.advance(60.0)
        assert await settled(alone) == [5.0]

    assert [ran.values for ran in engine.ran] == [(0,), (1, 2, 3, 4), (5,)]


async def test_images_with_and_without_masks_share_a_batch() -> None:
    """The engine is asked for what any row wants; each reply holds only what its own row named."""
    engine = GatedEngine()
    async with bench(engine) as b:
        first = b.submit(1)
        await engine.entered()
        (plain,) = b.batcher.submit([row_of(2)], NOTHING, FAR)
        (masked,) = b.batcher.submit([row_of(3)], frozenset({BLOCK}), FAR)
        engine.open(2)
        replies = await asyncio.gather(plain, masked)
        await first

    assert engine.ran[1] == Ran((2, 3), frozenset({BLOCK}))
    assert [list(reply.similarities) for reply in replies] == [[], [BLOCK]]
    np.testing.assert_array_equal(replies[1].similarities[BLOCK], np.full((1, 1, 1), 3.0))


async def test_a_poisonous_row_fails_alone() -> None:
    """A batch on which the model raises is bisected until the guilty row stands alone."""
    engine = GatedEngine(raises=[5])
    async with bench(engine, max_batch=8) as b:
        first = b.submit(0)
        await engine.entered()
        replies = [b.submit(value) for value in range(1, 9)]
        engine.open(20)
        outcomes = await settled(*replies)
        await first

    assert outcomes == [1.0, 2.0, 3.0, 4.0, "EngineFailed", 6.0, 7.0, 8.0]
    assert [type(error.__cause__) for error in b.record.failures] == [ArithmeticError]


async def test_a_row_that_is_not_finite_fails_alone() -> None:
    """NaN in one row's logits is that row's failure."""
    async with bench(FakeEngine(not_finite=[2])) as b:
        assert await settled(*(b.submit(v) for v in (1, 2, 3))) == [1.0, "EngineFailed", 3.0]


async def test_answers_are_counted_against_images() -> None:
    """An engine that loses a row fails the images rather than answering the wrong ones."""

    class Forgetful(FakeEngine):
        def infer(self, batch: tuple[int, ...], extras: frozenset[str]) -> EngineOutputs:
            outputs = super().infer(batch, extras)
            return EngineOutputs(outputs.logits[:-1], outputs.similarities)

    async with bench(Forgetful()) as b:
        outcomes = await settled(b.submit(1), b.submit(2), b.submit(3))

    assert outcomes == [EngineFailed.__name__] * 3


async def test_an_image_expires_on_time_in_the_queue() -> None:
    """The deadline's alarm fails the image at once, and the engine never sees it."""
    engine = GatedEngine()
    async with bench(engine) as b:
        first = b.submit(1)
        await engine.entered()
        late = b.submit(2, deadline=b.timer.now + 5)
        assert b.timer.alarms == [b.timer.now + 5]

        b.timer.advance(5)
        assert await settled(late) == [DeadlineExceeded.__name__]
        engine.open()
        await first

    assert [ran.values for ran in engine.ran] == [(1,)]
    assert b.record.expired == 1


async def test_a_caller_who_left_is_dropped_before_the_engine_sees_the_image() -> None:
    """Cancelling a queued reply takes its image out of the next batch."""
    engine = GatedEngine()
    async with bench(engine) as b:
        first = b.submit(1)
        await engine.entered()
        (gone,) = b.batcher.submit([row_of(2)], NOTHING, FAR)
        stays = b.submit(3)
        gone.cancel()
        engine.open(2)
        await settled(first, stays)

    assert [ran.values for ran in engine.ran] == [(1,), (3,)]
    assert b.record.dropped == 1


async def test_a_caller_who_leaves_during_the_run_harms_nobody() -> None:
    """A reply that was cancelled while its batch ran is skipped."""
    engine = GatedEngine()
    async with bench(engine) as b:
        (gone,) = b.batcher.submit([row_of(1)], NOTHING, FAR)
        await engine.entered()
        gone.cancel()
        engine.open(2)
        assert await settled(b.submit(2)) == [2.0]


async def test_the_window_holds_the_first_image_back() -> None:
    """With a window, images that come within it form one batch at its end."""
    engine = FakeEngine()
    async with bench(engine, window_s=3.0) as b:
        first = b.submit(1)
        b.timer.advance(2)
        second = b.submit(2)
        assert engine.ran == []
        b.timer.advance(1)
        await settled(first, second)

    assert [ran.values for ran in engine.ran] == [(1, 2)]


async def test_the_crash_of_the_engine_settles_every_reply() -> None:
    """What is on board fails, what is queued can be failed, and a new thread goes on."""
    engine = GatedEngine(lethal=[1])
    async with bench(engine) as b:
        on_board = b.submit(1)
        await engine.entered()
        queued = b.submit(2)
        engine.open()
        outcomes = await settled(on_board, queued)
        b.device.start()
        engine.open()
        again = await settled(b.submit(3))

    assert outcomes == [EngineLost.__name__, NotReady.__name__]
    assert again == [3.0]
    assert (b.crashes, b.record.failed) == (1, 1)


async def test_every_image_is_counted_once_whatever_became_of_it() -> None:
    """A crash with a stacked batch behind it fails the images of both, each counted once."""
    engine = GatedEngine(lethal=[1])
    async with bench(engine, max_batch=2) as b:
        first = b.submit(1)
        await engine.entered()
        stacked = [b.submit(2), b.submit(3)]
        queued = b.submit(4)
        engine.open()
        outcomes = await settled(first, *stacked, queued)

    assert outcomes == ["EngineLost", "EngineLost", "EngineLost", "NotReady"]
    assert (b.crashes, b.record.failed, sum(b.record.batches)) == (1, 3, 0)


async def test_a_deadline_counts_as_one_though_the_caller_left_at_it() -> None:
    """Who gave up because time was over is counted as expired, who gave up earlier is not."""
    engine = GatedEngine()
    async with bench(engine) as b:
        first = b.submit(1)
        await engine.entered()
        (at_deadline,) = b.batcher.submit([row_of(2)], NOTHING, b.timer.now + 5)
        (before,) = b.batcher.submit([row_of(3)], NOTHING, b.timer.now + 6)
        b.timer.now += 5
        at_deadline.cancel()
        before.cancel()
        engine.open()
        await first

    assert (b.record.expired, b.record.dropped) == (1, 1)


async def test_a_new_engine_takes_the_next_batch() -> None:
    """Switching waits for the old engine's batch and loses nothing."""
    old, new = GatedEngine(), FakeEngine()
    async with bench(old) as b:
        first = b.submit(1)
        await old.entered()
        switched = asyncio.ensure_future(b.batcher.switch_engine(new))
        second = b.submit(2)
        old.open()
        await switched
        assert await settled(first, second) == [1.0, 2.0]

    assert ([r.values for r in old.ran], [r.values for r in new.ran]) == ([(1,)], [(2,)])


async def test_what_the_old_engine_still_runs_says_nothing_of_the_new_one() -> None:
    """Its last batch ends after the switch, and is not counted as the new one's."""
    old, new = GatedEngine(), FakeEngine()
    async with bench(old) as b:
        first = b.submit(1)
        await old.entered()
        switched = asyncio.ensure_future(b.batcher.switch_engine(new))
        await asyncio.sleep(0)
        old.open()
        await switched
        await first

        assert b.batcher.share.seconds_for(1) == 0.0


async def test_the_pace_follows_the_runs() -> None:
    """The pace is the engine's time per image, and unknown before the first batch."""
    async with bench(FakeEngine()) as b:
        assert b.batcher.share.seconds_for(1) == 0.0
        await settled(b.submit(1))
        assert b.batcher.share.seconds_for(1) > 0.0


async def test_a_batch_that_cannot_be_stacked_fails_its_images() -> None:
    """Whatever goes wrong on the way to the engine, no reply stays open."""

    class Unstackable(FakeEngine):
        def collate(self, rows: object) -> tuple[int, ...]:
            raise MemoryError

    async with bench(Unstackable()) as b:
        outcomes = await settled(b.submit(1), b.submit(2))

    assert outcomes == [EngineFailed.__name__] * 2
    assert {type(error.__cause__) for error in b.record.failures} == {MemoryError}
