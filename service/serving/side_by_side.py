"""Several engines of one model on the same pictures, one after another, for comparison.

B: batch, K: classes.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.engines.base import Engine, Row
from service.serving.worker_thread import Timed, WorkerThread

_AS_QUICK = 0.95
_RUNS = 2  # of each size beyond a first one, of which the quicker counts


@dataclass(slots=True)
class EngineRun:
    """An engine, and what it has done.

    Attributes:
        batch: images of its best batch.
        images: that it has run.
        seconds: that it took for them.
    """

    engine: Engine
    batch: int = 1
    images: int = 0
    seconds: float = 0.0

    @property
    def images_per_s(self) -> float:
        """Its speed; the pictures are decoded beside it, by the same cores."""
        return self.images / self.seconds if self.seconds else 0.0


class SideBySide:
    """Brings engines up and sends the same rows through each; lives on the event loop.

    Args:
        engines: at least one.
        side_px: S, of the pixels.
        max_batch: images in the largest batch.
    """

    def __init__(self, engines: Sequence[Engine], side_px: int, max_batch: int) -> None:
        self.runs = [EngineRun(engine) for engine in engines]
        self._side_px = side_px
        self._max_batch = max_batch
        self._turns = 0
        self._builder = WorkerThread(lambda _: None, "builder")
        self._device = WorkerThread(lambda _: None, "device")

    @property
    def batch(self) -> int:
        """How many rows to send at a time: the largest of the engines' best batches."""
        return max(run.batch for run in self.runs)

    async def start(self) -> None:
        """Build what is not built yet, and find each engine's best batch.

        Raises:
            EngineFailed: an engine cannot run.
        """
        self._builder.start()
        for run in self.runs:
            await self._builder.run(run.engine.load)
        await self._builder.stop()
        self._device.start()
        for run in self.runs:
            timed = await self._device.run(best_batch, run.engine, self._side_px, self._max_batch)
            run.batch = timed.result

    async def logits(self, rows: Sequence[Row]) -> list[NDArray[np.float32]]:
        """Run rows on every engine: (B, K) of each, in the order of the engines.

        Another engine is first each time: what else the machine does then meets all alike.

        Raises:
            EngineFailed: an engine failed on them.
        """
        first, self._turns = self._turns % len(self.runs), self._turns + 1
        found = {
            id(run): await self._run(run, rows) for run in (*self.runs[first:], *self.runs[:first])
        }
        return [found[id(run)] for run in self.runs]

    async def _run(self, run: EngineRun, rows: Sequence[Row]) -> NDArray[np.float32]:
        parts = []
        for begin in range(0, len(rows), run.batch):
            batch = rows[begin : begin + run.batch]
            timed: Timed[NDArray[np.float32]] = await self._device.run(_logits, run.engine, batch)
            run.images += len(batch)
            run.seconds += timed.ended - timed.started
            parts.append(timed.result)
        return np.concatenate(parts)

    async def stop(self) -> None:
        """Let the build or the batch under way end, and close the engines; may be called early."""
        if self._builder.is_running:
            await self._builder.stop()
        if not self._device.is_running:
            return
        try:
            for run in self.runs:
                await self._device.run(run.engine.close)
        finally:
            await self._device.stop()


def best_batch(
    engine: Engine, side_px: int, max_batch: int, clock: Callable[[], float] = time.perf_counter
) -> int:
    """Find the size at which an engine runs most images a second, of powers of two and the largest.

    Of those that are as quick but for 5 %, which is what else a machine does meanwhile, the largest
    is taken.

    Args:
        engine: loaded; it is called on this thread.
        side_px: S, of its pixels.
        max_batch: images in the largest batch.
        clock: tells seconds.
    """
    row = np.zeros((3, side_px, side_px), np.uint8)
    sizes = sorted({max_batch, *(1 << power for power in range(max_batch.bit_length()))})
    speeds = {size: size / _seconds(engine, [row] * size, clock) for size in sizes}
    quickest = max(speeds.values())
    return max(size for size, speed in speeds.items() if speed >= _AS_QUICK * quickest)


def _seconds(engine: Engine, rows: Sequence[Row], clock: Callable[[], float]) -> float:
    _logits(engine, rows)
    moments = [clock()]
    for _ in range(_RUNS):
        _logits(engine, rows)
        moments.append(clock())
    return min(end - begin for begin, end in itertools.pairwise(moments))


def _logits(engine: Engine, rows: Sequence[Row]) -> NDArray[np.float32]:
    return engine.infer(engine.collate(rows), frozenset()).logits
