"""Batches that fail as a whole, and are halved until what fails is alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.engines.base import Row
from service.errors import EngineFailed, EngineLost
from service.serving.batch_memory import RETRY_S
from service.serving.batch_policy import Limits
from service.serving.batcher import Batcher
from service.serving.device_backlog import DeviceBacklog
from service.serving.worker_thread import WorkerThread
from tests.fakes import FakeEngine, FakeTimer, Record, row_of

pytestmark = pytest.mark.anyio


class Narrow(FakeEngine):
    """Stacks so many images at most.

    Args:
        error: of memory that is too small.
    """

    def __init__(self, widest: int, error: Exception) -> None:
        super().__init__()
        self._widest = widest
        self._error = error

    def collate(self, rows: Sequence[Row]) -> tuple[int, ...]:
        """Refuse more."""
        if len(rows) > self._widest:
            raise self._error
        return super().collate(rows)


async def answers_of(
    engine: FakeEngine, images: int, *pauses_s: float
) -> tuple[list[object], Record]:
    """What each image of one batch gets, and of one more after each pause; what was observed."""
    record, timer = Record(), FakeTimer()
    crashes: list[EngineLost] = []
    device = WorkerThread(crashes.append)
    device.start()
    with ThreadPoolExecutor(1) as collating:
        batcher = Batcher(
            engine,
            device,
            collating,
            Limits(images),
            backlog=DeviceBacklog(timer.time),
            timer=timer,
            observer=record,
        )
        rows = [row_of(value) for value in range(images)]
        settled: list[object] = []
        for pause_s in (0.0, *pauses_s):
            timer.advance(pause_s)
            replies = batcher.submit(rows, frozenset(), 10_000.0)
            settled += await asyncio.gather(*replies, return_exceptions=True)
        await device.stop()
    return [getattr(one, "logits", [type(one)])[0] for one in settled], record


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA error: out of memory")])
async def test_a_batch_that_cannot_be_stacked_is_answered_in_parts(error: Exception) -> None:
    """No image is lost for want of memory, and each halving is told."""
    answers, record = await answers_of(Narrow(2, error), images=8)

    assert answers == list(range(8))
    assert (record.batches, record.halved, record.failed) == ([2, 2, 2, 2], [8, 4, 4], 0)


async def test_where_memory_ran_out_batches_stay_small_for_a_while() -> None:
    """Then the whole size is tried again, since memory may have been short for a moment."""
    narrow = Narrow(4, MemoryError())

    answers, record = await answers_of(narrow, 8, 1.0, RETRY_S)

    assert answers == 3 * list(range(8))
    assert record.batches == 6 * [4]
    assert record.halved == [8, 8]


async def test_an_image_that_cannot_be_stacked_alone_fails() -> None:
    """There is nothing left to halve."""
    answers, record = await answers_of(Narrow(0, MemoryError()), images=2)

    assert answers == [EngineFailed, EngineFailed]
    assert (record.halved, record.failed) == ([2], 2)
