"""Logits and true classes -> what each picture came to, in a few numbers that can be kept.

B: batch, N: pictures, K: classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Classes = NDArray[np.int64]
"""A class for each picture: (N,), as positions in the logits."""


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """What pictures came to, each array (N,).

    Attributes:
        truth: their true classes.
        predicted: the best class; of equal ones the lower index.
        confidence: the score of the best class, in (0, 1].
        rank: how many classes are before the true one: 0 where it is the best.
    """

    truth: Classes
    predicted: Classes
    confidence: NDArray[np.float64]
    rank: Classes

    @property
    def is_right(self) -> NDArray[np.bool_]:
        """Whether the best class is the true one."""
        is_right: NDArray[np.bool_] = self.rank == 0
        return is_right


@dataclass(frozen=True, slots=True)
class Agreement:
    """How alike two engines answer.

    Attributes:
        pictures: on how many.
        same: of these have the same best class.
        largest_difference: between two scores of one class on one picture.
    """

    pictures: int
    same: int
    largest_difference: float

    def and_of(self, more: Agreement) -> Agreement:
        """The same over further pictures."""
        return Agreement(
            self.pictures + more.pictures,
            self.same + more.same,
            max(self.largest_difference, more.largest_difference),
        )


def scores_of_batch(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Give the probability of every class: a softmax over each row of finite logits (B, K)."""
    exponentials = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    scores: NDArray[np.float64] = exponentials / exponentials.sum(axis=1, keepdims=True)
    return scores


def judge(logits: NDArray[np.float32], scores: NDArray[np.float64], truth: Classes) -> Outcomes:
    """Compare answers with the truth.

    Args:
        logits: (B, K). Ranks are theirs: scores far behind the best one are all 0.
        scores: (B, K), of these logits.
        truth: (B,), positions in the logits.
    """
    rows = np.arange(len(truth))
    predicted = logits.argmax(axis=1)
    of_truth = logits[rows, truth][:, None]  # (B, 1)
    is_before = np.arange(logits.shape[1])[None] < truth[:, None]  # (B, K)
    rank = (logits > of_truth).sum(axis=1) + ((logits == of_truth) & is_before).sum(axis=1)
    return Outcomes(truth, predicted, scores[rows, predicted], rank)


def join(parts: Sequence[Outcomes]) -> Outcomes:
    """All pictures of several outcomes, in their order; there is at least one."""
    return Outcomes(
        np.concatenate([part.truth for part in parts]),
        np.concatenate([part.predicted for part in parts]),
        np.concatenate([part.confidence for part in parts]),
        np.concatenate([part.rank for part in parts]),
    )


def compare(scores: NDArray[np.float64], others: NDArray[np.float64]) -> Agreement:
    """Compare two engines' scores (B, K) of the same pictures."""
    same = scores.argmax(axis=1) == others.argmax(axis=1)
    return Agreement(len(scores), int(same.sum()), float(np.abs(scores - others).max()))
