"""Outcomes -> figures: shares with their intervals, classes, confusion, calibration.

N: pictures, K: classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.evaluation.outcomes import Outcomes

BINS = 15
Z = 1.959963984540054  # of the normal distribution, 95 % lie within so many deviations


@dataclass(frozen=True, slots=True)
class Share:
    """A share of pictures, and where the true one lies with 95 % confidence."""

    count: int
    of: int
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """One class.

    Attributes:
        index: its position in the logits.
        label: its name.
        count: pictures of it.
        recall: share of them that were predicted as it; None where there are none.
        precision: share of what was predicted as it that is of it; None where nothing was.
    """

    index: int
    label: str
    count: int
    recall: float | None
    precision: float | None


@dataclass(frozen=True, slots=True)
class Bin:
    """Pictures of about the same confidence: in (low, high]; means are None where it is empty."""

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far confidence can be taken at its word.

    Attributes:
        error: the expected calibration error.
        bins: of equal width, by confidence.
    """

    error: float
    bins: tuple[Bin, ...]


def wilson(count: int, of: int) -> Share:
    """Give a share with its Wilson score interval of 95 % (Wilson 1927); `of` is at least 1.

    Unlike the usual interval it stays within 0 and 1, and is none of zero width at either.
    """
    value, spread = count / of, Z * Z / of
    centre = (value + spread / 2) / (1 + spread)
    half = math.sqrt(spread * (value * (1 - value) + spread / 4)) / (1 + spread)
    low = 0.0 if count == 0 else centre - half
    return Share(count, of, value, low, 1.0 if count == of else centre + half)


def top(outcomes: Outcomes, count: int) -> Share:
    """The share of pictures whose true class is among the best `count`."""
    return wilson(int((outcomes.rank < count).sum()), len(outcomes.rank))


def confusion(outcomes: Outcomes, classes: int) -> NDArray[np.int64]:
    """Count pictures by true class (row) and predicted class (column): (K, K)."""
    cells = outcomes.truth * classes + outcomes.predicted
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def per_class(table: NDArray[np.int64], labels: tuple[str, ...]) -> tuple[ClassFigures, ...]:
    """Give each class's figures, from the confusion (K, K)."""
    found, of_class, as_class = table.diagonal(), table.sum(axis=1), table.sum(axis=0)
    return tuple(
        ClassFigures(
            index,
            label,
            int(of_class[index]),
            _share(int(found[index]), int(of_class[index])),
            _share(int(found[index]), int(as_class[index])),
        )
        for index, label in enumerate(labels)
    )


def calibrate(outcomes: Outcomes, bins: int = BINS) -> Calibration:
    """Compare confidence with accuracy (Guo et al. 2017, arXiv:1706.04599, equation 3).

    The error is the mean over pictures of the distance between the two means of their bin. Bins
    have equal width, and a confidence on a border belongs to the lower one.
    """
    position = np.ceil(outcomes.confidence * bins).astype(np.int64).clip(1, bins) - 1  # (N,)
    counts = np.bincount(position, minlength=bins)
    confident = np.bincount(position, outcomes.confidence, minlength=bins)
    right = np.bincount(position, outcomes.is_right.astype(np.float64), minlength=bins)
    error = float(np.abs(confident - right).sum() / len(position))
    return Calibration(
        error,
        tuple(
            Bin(
                b / bins,
                (b + 1) / bins,
                int(counts[b]),
                _share(float(confident[b]), int(counts[b])),
                _share(float(right[b]), int(counts[b])),
            )
            for b in range(bins)
        ),
    )


def _share(part: float, of: int) -> float | None:
    return part / of if of else None
