"""What became of the images of one model: counted, measured and logged."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from service.errors import EngineFailed
from service.metrics import Metrics
from service.serving.entry import EngineRun
from service.tracing.request_trace import RequestTrace, ids_of
from service.tracing.tracer import BatchRun, NullTracer, Tracer

log = structlog.stdlib.get_logger(__name__)


@dataclass(slots=True)
class BatchTally:
    """Batches of one size that a model has run: how many, and seconds in all."""

    batches: int = 0
    seconds: float = 0.0


class BatchAccount:
    """The observer of one model's batches; lives on the event loop.

    Args:
        model: its name and version, as every metric of it is labelled.
        metrics: where the numbers go.
        tracer: makes spans of batches; None: there are none.
    """

    def __init__(
        self, model: tuple[str, str], metrics: Metrics, tracer: Tracer | None = None
    ) -> None:
        self._model = model
        self._key = "/".join(model)
        self.metrics = metrics
        self._tracer = tracer or NullTracer()
        self.tallies: defaultdict[int, BatchTally] = defaultdict(BatchTally)  # by size
        self.last_batch_at_s = 0.0  # since 1970; before the first one 0

    def on_run(self, run: EngineRun) -> None:
        """Count a batch that did not fail, and make a span of any."""
        if self._tracer.is_on and any(trace.is_sampled for trace in run.traces):
            self._tracer.on_batch(self._as_traced(run), run.traces)
        if run.error is not None:
            return
        self.last_batch_at_s = time.time()
        self.tallies[run.size].batches += 1
        self.tallies[run.size].seconds += run.seconds
        self.metrics.batch_size.labels(*self._model).observe(run.size)
        self.metrics.batch_seconds.labels(*self._model).observe(run.seconds)

    def _as_traced(self, run: EngineRun) -> BatchRun:
        return BatchRun(
            self._model,
            run.engine.name,
            run.size,
            run.started,
            run.ended,
            run.error.code if run.error else "",
        )

    def on_expired(self, entries: int) -> None:
        """Count images whose deadline came in the queue."""
        self.metrics.expired.labels(*self._model).inc(entries)

    def on_dropped(self, entries: int) -> None:
        """Count images whose request ended without them."""
        self.metrics.disconnected.labels(*self._model).inc(entries)

    def on_halved(self, error: EngineFailed, entries: Sequence[RequestTrace]) -> None:
        """Log that a batch failed as a whole: one of its images is at fault, or its size."""
        log.warning("batch halved", reason=error.message, **self._said_of(entries))

    def on_failure(self, error: EngineFailed, entries: Sequence[RequestTrace]) -> None:
        """Count the images of a failure of the engine, and log it with its cause."""
        self.metrics.engine_failures.labels(*self._model).inc(len(entries))
        log.error("engine failed", reason=error.message, exc_info=error, **self._said_of(entries))

    def _said_of(self, entries: Sequence[RequestTrace]) -> dict[str, Any]:
        return {"model": self._key, "images": len(entries), **ids_of(entries)}
