"""What a stretch of answers says of a service's speed."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from service.errors import EngineFailed


@dataclass(frozen=True, slots=True)
class Window:
    """What one window gave: images a second, and the median time of an image in seconds."""

    images_per_s: float
    median_s: float


def window_of(answered: Sequence[tuple[float, float]], warm_up: int) -> Window:
    """The rate of answers after the first `warm_up` of them, which found the service empty.

    Args:
        answered: of each answer the moment and how long it took, in seconds.
        warm_up: at least 1.

    Raises:
        EngineFailed: nothing is left after them.
    """
    ordered = sorted(answered)
    steady = ordered[warm_up:]
    if not steady:
        raise EngineFailed(
            f"{len(ordered)} answers in a window, more than {warm_up} are needed; make it longer"
        )
    seconds = steady[-1][0] - ordered[warm_up - 1][0]
    return Window(len(steady) / seconds, statistics.median(took for _, took in steady))
