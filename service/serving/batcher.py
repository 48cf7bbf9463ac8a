"""The queue of one model, the hand-off to the device's thread, and the replies."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import sys
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.engines.base import Engine, EngineOutputs, Row
from service.errors import DeadlineExceeded, EngineFailed, EngineLost, ServiceError
from service.model.resnet import FEATURES
from service.serving.batch_memory import BatchMemory
from service.serving.batch_policy import Decision, Limits, Run, decide
from service.serving.device_backlog import DeviceBacklog, UnderWay
from service.serving.entry import EngineRun, Entry, Reply, settle_with
from service.serving.timer import Timer
from service.serving.turns import DEFAULT_PRIORITY
from service.serving.worker_thread import Timed, WorkerThread
from service.tracing.request_trace import UNTRACED, RequestTrace


class BatchObserver(Protocol):
    """Who wants to know what became of entries; called on the event loop, once for each entry."""

    def on_run(self, run: EngineRun) -> None:
        """The engine ran a batch, or failed on it; its replies come next."""

    def on_expired(self, entries: int) -> None:
        """Entries left the queue because of their deadlines."""

    def on_dropped(self, entries: int) -> None:
        """Entries left the queue because nobody waits for them."""

    def on_halved(self, error: EngineFailed, entries: Sequence[RequestTrace]) -> None:
        """The engine failed on a batch, whose halves run now; says whose each entry is."""

    def on_failure(self, error: EngineFailed, entries: Sequence[RequestTrace]) -> None:
        """The engine failed on entries, or died with them on board; says whose each is."""


class Batcher:
    """Collects entries and runs them in batches; lives on the event loop.

    A batch on which the engine raises is halved until what fails is alone. Where memory ran out,
    batches stay as small for a while.

    Every reply handed out by `submit` is settled, whatever becomes of the engine.

    Args:
        engine: runs the batches, until `switch_engine`.
        device: the thread on which engines run.
        collate_thread: a thread on which batches are stacked; nothing long runs there, so that no
            batch waits for the decoding of other images.
        limits: of the policy.
        backlog: of the device, which other models may share.
        timer: the clock of arrivals and deadlines.
        observer: is told of batches and losses.
    """

    def __init__(
        self,
        engine: Engine,
        device: WorkerThread,
        collate_thread: Executor,
        limits: Limits,
        *,
        backlog: DeviceBacklog,
        timer: Timer,
        observer: BatchObserver,
    ) -> None:
        self.engine = engine
        self._device = device
        self._collate_thread = collate_thread
        self._memory = BatchMemory(limits)
        self._timer = timer
        self._observer = observer
        self._queue: list[Entry] = []
        self._batches: set[asyncio.Task[None]] = set()
        self.share = backlog.share(self._advance, limits.max_batch)
        self._alarm: asyncio.TimerHandle | None = None
        self._closed_by: ServiceError | None = None

    @property
    def depth(self) -> int:
        """Entries that wait for a batch."""
        return len(self._queue)

    def submit(
        self,
        rows: Sequence[Row],
        extras: frozenset[str],
        deadline: float,
        priority: int = DEFAULT_PRIORITY,
        trace: RequestTrace = UNTRACED,
    ) -> list[asyncio.Future[Reply]]:
        """Queue the entries of one request, so that they may leave together.

        Cancelling a future takes its entry out again.

        Args:
            rows: pixels, (3, h, w) uint8 each.
            extras: what the replies shall hold beside logits, as `Engine.infer` takes it.
            deadline: a moment of the timer's clock.
            priority: their class, 1 the most important.
            trace: of the request.

        Returns:
            A reply for each row. It fails with `DeadlineExceeded` when the deadline came first,
            and with `EngineFailed` when the model failed on the entry, or the engine crashed.
        """
        loop, now = asyncio.get_running_loop(), self._timer.time()
        entries = [
            Entry(pixels, extras, now, deadline, priority, loop.create_future(), trace)
            for pixels in rows
        ]
        if self._closed_by is not None:
            settle_with(entries, self._closed_by)
        self._set_queue([*self._queue, *(e for e in entries if not e.reply.done())])
        self._advance()
        return [entry.reply for entry in entries]

    def fail_queued(self, error: ServiceError) -> None:
        """Fail every entry that waits for a batch."""
        queued = self._queue
        self._set_queue([])
        settle_with(queued, error)
        self._advance()

    def close(self, error: ServiceError) -> None:
        """Fail every entry that waits for a batch or comes later; leave the device to others."""
        self._closed_by = error
        self.fail_queued(error)
        self.share.close()

    async def switch_engine(self, engine: Engine) -> None:
        """Run the next batch on another engine; return when the old one's batches have ended."""
        self.engine = engine
        self.share.times.clear()
        await self.until_idle()

    async def until_idle(self) -> None:
        """Return when the batches that are under way now have ended."""
        await asyncio.gather(*self._batches, return_exceptions=True)

    def _advance(self) -> None:
        """Apply the policy until it lets nobody leave; the only place that moves the queue."""
        while (decision := self._decide()).leave:
            self._apply(decision)
        self._apply(decision)
        self._set_alarm(decision.look_again_at)

    def _decide(self) -> Decision:
        share, now = self.share, self._timer.time()
        return decide(
            self._queue,
            now,
            share.room,
            self._memory.limits_at(now),
            share.times.runs,
            busy_s=share.under_way_s,
        )

    def _set_queue(self, queue: list[Entry]) -> None:
        self._queue = queue
        self.share.waiting_since = queue[0].arrived if queue else float("inf")

    def _apply(self, decision: Decision) -> None:
        expired = [self._queue[i] for i in decision.expire]
        leaving = [self._queue[i] for i in decision.leave]
        gone = {*decision.expire, *decision.leave, *decision.drop}
        if not gone:
            return
        self._set_queue([entry for i, entry in enumerate(self._queue) if i not in gone])
        if expired:
            late = DeadlineExceeded("the deadline came while the image was queued")
            settle_with(expired, late)
            self._observer.on_expired(len(expired))
        if decision.drop:
            self._observer.on_dropped(len(decision.drop))
        if leaving:
            # Its own context: log lines of a batch must not carry one request's id.
            batch = asyncio.get_running_loop().create_task(
                self._run(leaving), context=contextvars.Context()
            )
            self._batches.add(batch)
            under_way = self.share.begin([entry.priority for entry in leaving])
            batch.add_done_callback(functools.partial(self._on_batch_done, under_way))

    def _set_alarm(self, moment: float | None) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = None if moment is None else self._timer.call_at(moment, self._advance)

    def _on_batch_done(self, under_way: UnderWay, batch: asyncio.Task[None]) -> None:
        self._batches.discard(batch)
        if not batch.cancelled():
            batch.exception()  # `_run` has told of it; asyncio would log it once more
        self.share.end(under_way)

    async def _run(self, entries: list[Entry]) -> None:
        """Run a batch and settle every reply of it; bisect it where the model raises."""
        engine, formed = self.engine, self._timer.time()
        try:
            timed = await self._infer(engine, entries)
            self._answer(engine, entries, timed)
        except EngineFailed as error:
            traces = tuple(entry.trace for entry in entries)
            now = self._timer.time()
            self._observer.on_run(EngineRun(traces, engine.description, formed, now, error))
            if len(entries) == 1 or isinstance(error, EngineLost):
                self._fail(entries, error)
            else:
                self._observer.on_halved(error, traces)
                self._memory.learn(error, len(entries), now)
                half = len(entries) // 2
                await self._run(entries[:half])
                await self._run(entries[half:])
        finally:
            self._close(entries, sys.exception())

    def _close(self, entries: Sequence[Entry], cause: BaseException | None) -> None:
        """Leave no reply open, whatever went wrong on a batch's way."""
        failure = EngineFailed(f"a batch broke on its way to the engine: {cause!r}")
        failure.__cause__ = cause
        self._fail(entries, failure)

    def _fail(self, entries: Sequence[Entry], error: EngineFailed) -> None:
        if failed := settle_with(entries, error):
            self._observer.on_failure(error, failed)

    async def _infer(self, engine: Engine, entries: list[Entry]) -> Timed[EngineOutputs]:
        rows = [entry.pixels for entry in entries]
        extras = frozenset[str]().union(*(entry.extras for entry in entries))
        loop = asyncio.get_running_loop()
        try:
            batch = await loop.run_in_executor(self._collate_thread, engine.collate, rows)
        except (MemoryError, RuntimeError) as error:  # of torch, where page-locked memory ran out
            raise EngineFailed(f"a batch cannot be stacked: {error}") from error
        timed = await self._device.run(engine.infer, batch, extras)
        answered = len(timed.result.logits)
        if answered != len(entries):
            raise EngineFailed(f"the engine gave {answered} rows for {len(entries)} entries")
        return timed

    def _answer(self, engine: Engine, entries: list[Entry], timed: Timed[EngineOutputs]) -> None:
        traces = tuple(entry.trace for entry in entries)
        run = EngineRun(traces, engine.description, timed.started, timed.ended)
        # Similarities are megabytes: whoever draws one looks at it, on a worker thread.
        are_finite = np.isfinite(timed.result.logits)  # (B, K)
        if engine is self.engine:  # else another one has taken over, and is judged by its own
            self.share.times.add(Run(run.size, run.seconds, self._timer.time()))
        self._observer.on_run(run)
        features = timed.result.features
        for row, entry in enumerate(entries):
            if entry.reply.done():
                continue
            if not are_finite[row].all():
                self._fail([entry], EngineFailed("the model gave logits that are not finite"))
                continue
            reply = Reply(
                timed.result.logits[row],
                _of_row(timed.result.similarities, row, entry.extras),
                features[row] if features is not None and FEATURES in entry.extras else None,
                queue_s=max(0.0, timed.started - entry.arrived),
                infer_s=run.seconds,
                batch_size=run.size,
                engine=run.engine,
            )
            entry.reply.set_result(reply)


def _of_row(
    similarities: dict[str, NDArray[np.float32]], row: int, extras: frozenset[str]
) -> dict[str, NDArray[np.float32]]:
    return {name: n[row] for name, n in similarities.items() if name in extras}
