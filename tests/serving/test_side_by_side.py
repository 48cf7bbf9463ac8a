"""Several engines on the same pictures."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from service.engines.base import EngineOutputs
from service.errors import EngineFailed
from service.serving.side_by_side import SideBySide, best_batch
from tests import fakes
from tests.fakes import FakeEngine, row_of


class SlowEngine(FakeEngine):
    """Takes so many seconds for a batch, by a clock of its own.

    Args:
        seconds: by the size of the batch.
    """

    def __init__(self, seconds: dict[int, float]) -> None:
        super().__init__()
        self.seconds = seconds
        self.now = 0.0

    def infer(self, batch: tuple[int, ...], blocks: frozenset[str]) -> EngineOutputs:
        """Answer with the values, later."""
        self.now += self.seconds[len(batch)]
        return super().infer(batch, blocks)


@pytest.mark.parametrize(
    ("seconds", "best"),
    [
        ({1: 1.0, 2: 1.5, 4: 2.0, 6: 4.0}, 4),
        ({1: 1.0, 2: 2.4, 4: 4.8, 6: 7.2}, 1),
        ({1: 1.0, 2: 1.0, 4: 2.04, 6: 3.6}, 4),
        ({1: 1.0, 2: 1.0, 4: 1.0, 6: 1.0}, 6),
    ],
)
def test_the_best_batch_runs_most_images_a_second(seconds: dict[int, float], best: int) -> None:
    """Of the powers of two and the largest batch; a little slower and larger is as good."""
    engine = SlowEngine(seconds)

    assert best_batch(engine, 2, 6, lambda: engine.now) == best
    assert {len(ran.values) for ran in engine.ran} == {1, 2, 4, 6}


@pytest.mark.anyio
async def test_every_engine_sees_every_row_in_batches_of_its_own() -> None:
    """Answers are in the order of the engines, whichever is first on the device."""
    engines: Sequence[FakeEngine] = [FakeEngine(), FakeEngine()]
    compared = SideBySide(engines, side_px=2, max_batch=4)
    await compared.start()
    compared.runs[0].batch, compared.runs[1].batch = 4, 3
    for engine in engines:
        engine.ran.clear()

    logits = await compared.logits([row_of(value) for value in (1, 2, 3, 4)])
    await compared.logits([row_of(5)])
    await compared.stop()

    assert [part[:, 0].tolist() for part in logits] == [[1, 2, 3, 4]] * 2
    assert [[ran.values for ran in engine.ran] for engine in engines] == [
        [(1, 2, 3, 4), (5,)],
        [(1, 2, 3), (4,), (5,)],
    ]
    assert [(run.images, run.seconds > 0) for run in compared.runs] == [(5, True)] * 2


@pytest.mark.anyio
async def test_a_stop_waits_for_the_engine_that_is_being_built() -> None:
    """The process ends after it; Python cannot end in order beside a thread that computes."""
    engine = fakes.SlowEngine()
    compared = SideBySide([engine], side_px=2, max_batch=4)
    starting = asyncio.create_task(compared.start())
    await asyncio.to_thread(engine.is_loading.wait)

    starting.cancel()
    stopping = asyncio.create_task(compared.stop())
    await asyncio.sleep(0)
    is_waiting = not stopping.done()
    engine.may_load.set()
    await stopping

    assert (is_waiting, engine.has_loaded.is_set(), starting.cancelled()) == (True, True, True)


@pytest.mark.anyio
async def test_an_engine_that_cannot_be_built_leaves_no_thread() -> None:
    """What was started for it ends by the stop."""

    class Broken(FakeEngine):
        def load(self) -> None:
            raise ArithmeticError("it cannot be built")

    before = set(threading.enumerate())
    compared = SideBySide([Broken()], side_px=2, max_batch=4)

    with pytest.raises(EngineFailed, match="it cannot be built"):
        await compared.start()
    await compared.stop()

    started = set(threading.enumerate()) - before
    for thread in started:
        thread.join(1)
    assert [thread.name for thread in started if thread.is_alive()] == []
