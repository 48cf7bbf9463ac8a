"""What became of the images of one model: counted, measured and logged."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass

import structlog

from service.errors import EngineFailed
from service.metrics import Metrics

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
    """

    def __init__(self, model: tuple[str, str], metrics: Metrics) -> None:
        self._model = model
        self._key = "/".join(model)
        self._metrics = metrics
        self.tallies: defaultdict[int, BatchTally] = defaultdict(BatchTally)  # by size
        self.last_batch_at_s = 0.0  # since 1970; before the first one 0

    def on_batch(self, size: int, infer_s: float) -> None:
        """Count a batch."""
        self.last_batch_at_s = time.time()
        self.tallies[size].batches += 1
        self.tallies[size].seconds += infer_s
        self._metrics.batch_size.labels(*self._model).observe(size)
        self._metrics.batch_seconds.labels(*self._model).observe(infer_s)

    def on_expired(self, entries: int) -> None:
        """Count images whose deadline came in the queue."""
        self._metrics.expired.labels(*self._model).inc(entries)

    def on_dropped(self, entries: int) -> None:
        """Count images whose request ended without them."""
        self._metrics.disconnected.labels(*self._model).inc(entries)

    def on_halved(self, error: EngineFailed, entries: int) -> None:
        """Log that a batch failed as a whole: one of its images is at fault, or its size."""
        log.warning("batch halved", model=self._key, images=entries, reason=error.message)

    def on_failure(self, error: EngineFailed, entries: int) -> None:
        """Count the images of a failure of the engine, and log it with its cause."""
        self._metrics.engine_failures.labels(*self._model).inc(entries)
        log.error(
            "engine failed", model=self._key, reason=error.message, images=entries, exc_info=error
        )
