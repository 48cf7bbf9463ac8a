"""From a sweep to settings: what a batch costs, and which limits keep a promise of latency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from tests.load.step import Step

LARGEST_BATCH = 64  # beyond it a larger batch buys next to nothing
CLOSE = 0.9  # of the most images that can be promised: costs are not known any better


@dataclass(frozen=True, slots=True)
class BatchCost:
    """A batch of b images takes `fixed_ms + b * per_image_ms` of the engine."""

    fixed_ms: float
    per_image_ms: float

    @classmethod
    def fit(cls, steps: Sequence[Step]) -> Self | None:
        """Fit the line through the steps' mean batches, each with the weight of its batches.

        Means lie on the same line as the batches, so nothing is lost by fitting them. None where
        there is no batch, or where all means are the same size.
        """
        views = [step.service for step in steps if step.service.batch_size.count]
        sizes = np.array([view.batch_size.mean for view in views])
        if len(views) < 2 or np.ptp(sizes) < 0.5:
            return None
        times_ms = np.array([view.batch_s.mean * 1000 for view in views])
        weights = np.sqrt([view.batch_size.count for view in views])
        per_image_ms, fixed_ms = np.polyfit(sizes, times_ms, 1, w=weights)
        if fixed_ms < 0:  # noise: no batch is cheaper than its images
            fixed_ms, per_image_ms = 0.0, float(np.sum(times_ms * sizes) / np.sum(sizes**2))
        return cls(float(fixed_ms), float(per_image_ms))

    def batch_ms(self, images: int) -> float:
        """Engine time of a batch."""
        return self.fixed_ms + images * self.per_image_ms


@dataclass(frozen=True, slots=True)
class Advice:
    """Settings for a promise of latency.

    Attributes:
        max_batch: for `SGE_MAX_BATCH`.
        max_in_flight: for `SGE_MAX_IN_FLIGHT`.
    """

    max_batch: int
    max_in_flight: int


def advise(cost: BatchCost, around_ms: float, target_ms: float) -> Advice | None:
    """Choose limits under which whoever is let in is answered in time.

    Whoever comes last into a full service waits for the rest of a batch, and then for all that is
    inside, in full batches. Larger batches do more in a second but the rest of one is longer, so
    some size in between lets most in; the largest that comes close to it is taken.

    Args:
        cost: of a batch.
        around_ms: what decoding and drawing take beside the engine.
        target_ms: within which an answer is promised.

    Returns:
        None where not even single images make it.
    """
    left_ms = target_ms - around_ms
    sizes = range(1, LARGEST_BATCH + 1)
    limits = {size: size * (int(left_ms / cost.batch_ms(size)) - 1) for size in sizes}
    most = max(limits.values())
    if most < 1:
        return None
    max_batch = max(size for size, limit in limits.items() if limit >= CLOSE * most)
    return Advice(max_batch, limits[max_batch])
