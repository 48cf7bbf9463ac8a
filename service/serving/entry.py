"""An image in the queue of a model, and what it gets."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.engines.base import EngineDescription, Row
from service.errors import ServiceError


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
    """An image in the queue: its pixels, what is asked for, its times and its reply's handle.

    Its priority is its class, 1 the most important.
    """

    pixels: Row
    extras: frozenset[str]
    arrived: float
    deadline: float
    priority: int
    reply: asyncio.Future[Reply]

    @property
    def is_abandoned(self) -> bool:
        """Whether the caller has cancelled the reply."""
        return self.reply.cancelled()


def settle_with(entries: Sequence[Entry], error: ServiceError) -> int:
    """Fail the entries whose replies are open, and say how many those were."""
    still_open = [entry for entry in entries if not entry.reply.done()]
    for entry in still_open:
        entry.reply.set_exception(error)
    return len(still_open)
