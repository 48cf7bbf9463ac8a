"""When requests are due: moments that are fixed before the first of them is sent."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

ArrivalKind = Literal["poisson", "constant"]
"""`poisson`: callers who know nothing of each other. `constant`: one every 1/rate seconds."""

Moments = NDArray[np.float64]
"""Seconds after the start, ascending."""


def plan_arrivals(kind: ArrivalKind, rate: float, duration_s: float, seed: int) -> Moments:
    """Plan the moments at which requests are due: `rate * duration_s` of them, rounded.

    Their number is fixed for both kinds, so that a rate is exactly what it says; given its
    number, the arrivals of a Poisson process are independent and uniform.

    Args:
        kind: of the arrivals.
        rate: requests a second.
        duration_s: every moment lies in [0, duration_s).
        seed: makes Poisson arrivals repeatable; constant ones need none.

    Raises:
        ValueError: the rate or the duration is not above 0.
    """
    if not (rate > 0 and duration_s > 0):
        raise ValueError(f"rate {rate:g}/s for {duration_s:g} s: both must be above 0")
    count = max(1, round(rate * duration_s))
    if kind == "constant":
        return np.linspace(0, duration_s, count, endpoint=False)
    return np.sort(np.random.default_rng(seed).uniform(0, duration_s, count))
