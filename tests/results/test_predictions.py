"""From logits to the predictions in a reply."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.results.predictions import Prediction, top_k

LABELS = ("cat", "dog", "gnu", "yak")

logits_of_any_length = st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=20)


def test_the_best_classes_come_first() -> None:
    """Scores are the softmax over all classes, not over the ones shown."""
    logits = np.log(np.array([1, 4, 2, 1], np.float32))

    first, second = top_k(logits, 2, LABELS)

    assert (first.index, first.label, second.index, second.label) == (1, "dog", 2, "gnu")
    assert [first.score, second.score] == pytest.approx([0.5, 0.25], abs=1e-7)  # float32 logits


def test_equal_classes_come_in_the_order_of_the_logits() -> None:
    """The same image gets the same answer, whatever sorts it."""
    predictions = top_k(np.zeros(4, np.float32), 4, LABELS)

    assert predictions == [Prediction(index, LABELS[index], 0.25) for index in range(4)]


@pytest.mark.parametrize(("count", "given_count"), [(1, 1), (4, 4), (5, 4), (1000, 4)])
def test_more_than_there_is_gives_all(count: int, given_count: int) -> None:
    """A count above the number of classes is no error."""
    assert len(top_k(np.arange(4, dtype=np.float32), count, LABELS)) == given_count


@pytest.mark.parametrize("shift", [-3e38, -1e4, 1e4, 3e38])
def test_huge_logits_do_not_overflow(shift: float) -> None:
    """A softmax looks at differences only."""
    logits = np.array([shift, shift], np.float32)

    assert [prediction.score for prediction in top_k(logits, 2, LABELS)] == [0.5, 0.5]


@pytest.mark.parametrize(
    ("logits", "scores"), [([3e38, -3e38], [1.0, 0.0]), ([0, -800], [1.0, 0.0])]
)
def test_a_hopeless_class_gets_zero(logits: list[float], scores: list[float]) -> None:
    """Too small for float64 is zero, without a warning."""
    predictions = top_k(np.array(logits, np.float32), 2, LABELS)

    assert [prediction.score for prediction in predictions] == scores


@given(logits_of_any_length)
def test_scores_are_a_distribution_in_falling_order(values: list[float]) -> None:
    """Every class appears once, the scores add up to one."""
    labels = [str(index) for index in range(len(values))]

    predictions = top_k(np.array(values, np.float32), len(values), labels)

    scores = [prediction.score for prediction in predictions]
    assert sorted(prediction.index for prediction in predictions) == list(range(len(values)))
    assert all(prediction.label == str(prediction.index) for prediction in predictions)
    assert scores == sorted(scores, reverse=True)
    assert math.fsum(scores) == pytest.approx(1, abs=1e-12)  # float64's rounding over 20 classes
