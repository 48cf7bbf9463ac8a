"""Logits -> the best classes with their scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
"""Probabilities of all classes of one image: (K,), in the order of the logits."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """One class: its position in the logits, its label, and its probability in [0, 1]."""

    index: int
    label: str
    score: float


def top_k(logits: NDArray[np.float32], count: int, labels: Sequence[str]) -> list[Prediction]:
    """Turn logits into the best predictions.

    Args:
        logits: (K,) float32, finite.
        count: how many to give; more than K gives K.
        labels: K of them, in the order of the logits.

    Returns:
        Best first, of equal ones the lower index first; scores are a softmax over all K.
    """
    scores = scores_of(logits)
    best = np.argsort(-logits, kind="stable")[:count]
    return [Prediction(int(index), labels[index], float(scores[index])) for index in best]


def scores_of(logits: NDArray[np.float32]) -> Scores:
    """Give the probability of every class: a softmax of finite logits (K,) float32."""
    exponentials = np.exp(logits.astype(np.float64) - logits.max())  # the largest is exp(0)
    scores: Scores = exponentials / exponentials.sum()
    return scores
