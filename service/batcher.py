"""The queue of one model, the hand-off to the device's thread, and the replies."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.batch_policy import Decision, Limits, Room, decide
from service.device_thread import DeviceThread, Timed
from service.engines.base import Engine, EngineDescription, EngineOutputs, Row
from service.errors import DeadlineExceeded, EngineFailed, EngineLost, ServiceError

RECENT_RUNS = 32  # enough to smooth, few enough to follow a change of engine or load


@dataclass(frozen=True, slots=True)
class Reply:
    """The engine's answer to one image.

    Attributes:
        logits: (K,) float32.
        similarities: per asked block (G, h, w) float32.
        queue_s: from the image's arrival in the queue to the start of its batch.
        infer_s: how long its batch ran.
        batch_size: images in that batch.
        engine: what ran it.
    """

    logits: NDArray[np.float32]
    similarities: dict[str, NDArray[np.float32]]
    queue_s: float
    infer_s: float
    batch_size: int
    engine: EngineDescription


@dataclass(frozen=True, slots=True)
class Entry:
    """A queued image: its pixels, the asked blocks, its times and the handle of its reply."""

    pixels: Row
    asked: frozenset[str]
    arrived: float
    deadline: float
    reply: asyncio.Future[Reply]

    @property
    def is_abandoned(self) -> bool:
        """Whether the caller has cancelled the reply."""
        return self.reply.cancelled()


class Timer(Protocol):
    """The clock of the queue; an asyncio event loop is one."""

    def time(self) -> float:
        """The present moment in seconds."""

    def call_at(self, when: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """Call back at a moment."""


class BatchObserver(Protocol):
    """Who wants to know what became of queued images; called on the event loop."""

    def on_batch(self, size: int, infer_s: float) -> None:
        """A batch of `size` images ran."""

    def on_expired(self, images: int) -> None:
        """Images left the queue because of their deadlines."""

    def on_dropped(self, images: int) -> None:
        """Images left the queue because nobody waits for them."""

    def on_failure(self, error: EngineFailed) -> None:
        """The engine failed on a single image, or died."""


class Batcher:
    """Collects images and runs them in batches; lives on the event loop.

    Every reply handed out by `submit` is settled, whatever becomes of the engine.

    Args:
        engine: runs the batches, until `switch_engine`.
        device: the thread on which engines run.
        workers: threads on which batches are stacked.
        limits: of the policy.
        timer: the clock of arrivals and deadlines.
        observer: is told of batches and losses.
    """

    def __init__(
        self,
        engine: Engine,
        device: DeviceThread,
        workers: Executor,
        limits: Limits,
        *,
        timer: Timer,
        observer: BatchObserver,
    ) -> None:
        self.engine = engine
        self._device = device
        self._workers = workers
        self._limits = limits
        self._timer = timer
        self._observer = observer
        self._queue: list[Entry] = []
        self._batches: set[asyncio.Task[None]] = set()
        self._runs: deque[tuple[int, float]] = deque(maxlen=RECENT_RUNS)
        self._alarm: asyncio.TimerHandle | None = None

    @property
    def depth(self) -> int:
        """Images that wait for a batch."""
        return len(self._queue)

    @property
    def pace_s(self) -> float:
        """Engine seconds an image has taken lately; 0 before the first batch."""
        images = sum(size for size, _ in self._runs)
        return sum(seconds for _, seconds in self._runs) / images if images else 0.0

    def submit(self, pixels: Row, asked: frozenset[str], deadline: float) -> asyncio.Future[Reply]:
        """Queue an image; cancelling the future takes it out again.

        Args:
            pixels: (3, h, w) uint8.
            asked: blocks whose similarity the reply shall hold.
            deadline: a moment of the timer's clock.

        Raises:
            DeadlineExceeded: from the future, when the deadline came first.
            EngineFailed: from the future, when the model failed on this image.
        """
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._queue.append(Entry(pixels, asked, self._timer.time(), deadline, reply))
        self._advance()
        return reply

    def fail_queued(self, error: ServiceError) -> None:
        """Fail every image that waits for a batch."""
        queued, self._queue = self._queue, []
        _fail(queued, error)
        self._advance()

    async def switch_engine(self, engine: Engine) -> None:
        """Run the next batch on another engine; return when the old one's batches have ended."""
        self.engine = engine
        self._runs.clear()
        await asyncio.gather(*self._batches, return_exceptions=True)

    def _advance(self) -> None:
        """Apply the policy until it lets nobody leave; the only place that moves the queue."""
        while (decision := self._decide()).leave:
            self._apply(decision)
        self._apply(decision)
        self._set_alarm(decision.look_again_at)

    def _decide(self) -> Decision:
        room = (Room.IDLE, Room.SLOT, Room.NONE)[len(self._batches)]
        shortest_run_s = min((seconds for _, seconds in self._runs), default=0.0)
        return decide(self._queue, self._timer.time(), room, self._limits, shortest_run_s)

    def _apply(self, decision: Decision) -> None:
        expired = [self._queue[i] for i in decision.expire]
        leaving = [self._queue[i] for i in decision.leave]
        gone = {*decision.expire, *decision.leave, *decision.drop}
        if not gone:
            return
        self._queue = [entry for i, entry in enumerate(self._queue) if i not in gone]
        if expired:
            _fail(expired, DeadlineExceeded("the deadline came while the image was queued"))
            self._observer.on_expired(len(expired))
        if decision.drop:
            self._observer.on_dropped(len(decision.drop))
        if leaving:
            # Its own context: log lines of a batch must not carry one request's id.
            batch = asyncio.get_running_loop().create_task(
                self._run(leaving), context=contextvars.Context()
            )
            self._batches.add(batch)
            batch.add_done_callback(self._on_batch_done)

    def _set_alarm(self, moment: float | None) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = None if moment is None else self._timer.call_at(moment, self._advance)

    def _on_batch_done(self, batch: asyncio.Task[None]) -> None:
        self._batches.discard(batch)
        error = None if batch.cancelled() else batch.exception()
        if error is not None:
            failure = EngineFailed(f"a batch broke on its way to the engine: {error!r}")
            failure.__cause__ = error
            self._observer.on_failure(failure)
        self._advance()

    async def _run(self, entries: list[Entry]) -> None:
        """Run a batch and settle every reply of it; bisect it where the model raises."""
        engine = self.engine
        try:
            timed = await self._infer(engine, entries)
            self._answer(engine.description, entries, timed)
        except EngineLost as error:
            self._observer.on_failure(error)
            _fail(entries, error)
        except EngineFailed as error:
            if len(entries) == 1:
                self._observer.on_failure(error)
                _fail(entries, error)
            else:
                half = len(entries) // 2
                await self._run(entries[:half])
                await self._run(entries[half:])
        finally:
            _fail(entries, EngineFailed("the batch ended without an answer for this image"))

    async def _infer(self, engine: Engine, entries: list[Entry]) -> Timed[EngineOutputs]:
        rows = [entry.pixels for entry in entries]
        asked = frozenset[str]().union(*(entry.asked for entry in entries))
        loop = asyncio.get_running_loop()
        staged = await loop.run_in_executor(self._workers, engine.stage, rows)
        timed = await self._device.run(engine.infer, staged, asked)
        answered = len(timed.result.logits)
        if answered != len(entries):
            raise EngineFailed(f"the engine gave {answered} answers for {len(entries)} images")
        return timed

    def _answer(
        self, engine: EngineDescription, entries: list[Entry], timed: Timed[EngineOutputs]
    ) -> None:
        infer_s = timed.ended - timed.started
        self._runs.append((len(entries), infer_s))
        self._observer.on_batch(len(entries), infer_s)
        for row, entry in enumerate(entries):
            if entry.reply.done():
                continue
            logits = timed.result.logits[row]
            similarities = {
                name: n[row] for name, n in timed.result.similarities.items() if name in entry.asked
            }
            if not _are_finite(logits, *similarities.values()):
                error = EngineFailed("the model gave numbers that are not finite")
                self._observer.on_failure(error)
                entry.reply.set_exception(error)
                continue
            queue_s = max(0.0, timed.started - entry.arrived)
            reply = Reply(logits, similarities, queue_s, infer_s, len(entries), engine)
            entry.reply.set_result(reply)


def _are_finite(*arrays: NDArray[np.float32]) -> bool:
    return all(bool(np.isfinite(array).all()) for array in arrays)


def _fail(entries: Sequence[Entry], error: ServiceError) -> None:
    for entry in entries:
        if not entry.reply.done():
            entry.reply.set_exception(error)
