"""An image in the queue of a model, and what it gets."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.engines.base import EngineDescription, Row
from service.errors import EngineFailed, ServiceError
from service.tracing.request_trace import UNTRACED, RequestTrace


@dataclass(frozen=True, slots=True)
class Reply:
    """What the engine gave for one entry.

    Attributes:
        logits: (K,) float32, finite.
        similarities: per named block (G, h, w) float32.
        features: (G, C/G, h, w) float32, of the last block; None where they were not asked for.
        queue_s: from the entry's arrival in the queue to the start of its batch.
        infer_s: how long its batch ran.
        batch_size: entries in that batch.
        engine: what ran it.
    """

    logits: NDArray[np.float32]
    similarities: dict[str, NDArray[np.float32]]
    features: NDArray[np.float32] | None
    queue_s: float
    infer_s: float
    batch_size: int
    engine: EngineDescription


@dataclass(frozen=True, slots=True)
class Entry:
    """An image in the queue: its pixels, what is asked for, its times, its reply, whose it is.

    Its priority is its class, 1 the most important.
    """

    pixels: Row
    extras: frozenset[str]
    arrived: float
    deadline: float
    priority: int
    reply: asyncio.Future[Reply]
    trace: RequestTrace = UNTRACED

    @property
    def is_abandoned(self) -> bool:
        """Whether the caller has cancelled the reply."""
        return self.reply.cancelled()


@dataclass(frozen=True, slots=True)
class EngineRun:
    """A batch that an engine ran, or failed on; moments in seconds of `time.monotonic`.

    Attributes:
        traces: of the requests that its entries belong to, one for each entry.
        engine: what ran it.
        started: when the device began; of a failed run, when the batch was formed.
        ended: when it had the outputs, or failed.
        error: by which it failed.
    """

    traces: tuple[RequestTrace, ...]
    engine: EngineDescription
    started: float
    ended: float
    error: EngineFailed | None = None

    @property
    def size(self) -> int:
        """Entries in the batch."""
        return len(self.traces)

    @property
    def seconds(self) -> float:
        """How long it ran."""
        return self.ended - self.started


def settle_with(entries: Sequence[Entry], error: ServiceError) -> list[RequestTrace]:
    """Fail the entries whose replies are open, and say whose each of those is."""
    still_open = [entry for entry in entries if not entry.reply.done()]
    for entry in still_open:
        entry.reply.set_exception(error)
    return [entry.trace for entry in still_open]
