"""Figures against tables, and against what a person would count picture by picture."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from service.evaluation.figures import Bin, calibrate, confusion, per_class, top, wilson
from service.evaluation.outcomes import Agreement, Outcomes, compare, join, judge, scores_of_batch

PICTURES, CLASSES = 200, 7


@pytest.fixture
def logits() -> NDArray[np.float32]:
    """Of pictures some of which have equal logits: (N, K)."""
    return np.random.default_rng(1).integers(-3, 3, (PICTURES, CLASSES)).astype(np.float32)


@pytest.fixture
def truth() -> NDArray[np.int64]:
    """Of the same pictures, class 6 among none: (N,)."""
    return np.random.default_rng(2).integers(0, CLASSES - 1, PICTURES)


@pytest.fixture
def outcomes(logits: NDArray[np.float32], truth: NDArray[np.int64]) -> Outcomes:
    """What they came to."""
    return judge(logits, scores_of_batch(logits), truth)


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    [  # method 3 in table I of Newcombe 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<857
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (20, 20, 0.8389, 1.0),  # its mirror image
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_a_share_has_its_interval(count: int, of: int, low: float, high: float) -> None:
    """Within 0 and 1, and of some width even where all are right."""
    share = wilson(count, of)

    assert (share.count, share.of, share.value) == (count, of, count / of)
    assert share.low == pytest.approx(low, abs=5e-5)
    assert share.high == pytest.approx(high, abs=5e-5)


def test_ranks_are_those_of_a_sorted_list(
    logits: NDArray[np.float32], truth: NDArray[np.int64], outcomes: Outcomes
) -> None:
    """Of equal scores the lower index is first, as in predictions."""
    for picture in range(PICTURES):
        order = sorted(range(CLASSES), key=lambda k: (-logits[picture, k], k))
        assert outcomes.predicted[picture] == order[0]
        assert outcomes.rank[picture] == order.index(int(truth[picture]))


def test_confidence_is_a_softmax(logits: NDArray[np.float32], outcomes: Outcomes) -> None:
    """In float64, also of logits whose exponentials are no numbers of float32."""
    exponentials = [math.exp(value) for value in logits[0].tolist()]

    assert outcomes.confidence[0] == pytest.approx(max(exponentials) / sum(exponentials), rel=1e-12)
    assert scores_of_batch(np.array([[1000, 0]], np.float32)).tolist() == [[1.0, 0.0]]


def test_ranks_hold_where_scores_are_too_small_to_tell() -> None:
    """Behind a gap of 745 every score is 0; the logits are still in order."""
    logits = np.array([[0, 1, 900, 2]], np.float32)

    outcomes = judge(logits, scores_of_batch(logits), np.array([1]))

    assert (outcomes.rank.tolist(), outcomes.confidence.tolist()) == ([2], [1.0])


def test_top_k_counts_what_is_among_the_best(outcomes: Outcomes) -> None:
    """From the ranks; among all of them everything is."""
    assert top(outcomes, 1).count == sum(outcomes.predicted == outcomes.truth)
    assert top(outcomes, 3).count == sum(rank < 3 for rank in outcomes.rank)
    assert top(outcomes, CLASSES).value == 1


def test_confusion_and_classes_count_pictures(outcomes: Outcomes) -> None:
    """Recall is by row, precision by column; what divides by nothing is none."""
    pairs = list(zip(outcomes.truth.tolist(), outcomes.predicted.tolist(), strict=True))

    table = confusion(outcomes, CLASSES)
    classes = per_class(table, tuple("abcdefg"))

    assert table.tolist() == [
        [pairs.count((true, guess)) for guess in range(CLASSES)] for true in range(CLASSES)
    ]
    for index, figures in enumerate(classes[:-1]):
        of_class = [guess == index for true, guess in pairs if true == index]
        as_class = [true == index for true, guess in pairs if guess == index]
        assert (figures.index, figures.label, figures.count) == (
            index,
            "abcdefg"[index],
            len(of_class),
        )
        assert figures.recall == sum(of_class) / len(of_class)
        assert figures.precision == sum(as_class) / len(as_class)
    assert (classes[-1].count, classes[-1].recall) == (0, None)


def test_a_class_that_nothing_was_taken_for_has_no_precision() -> None:
    """It is not 0, which would be a fault of the model's."""
    (_, absent) = per_class(np.array([[2, 0], [0, 0]]), ("a", "b"))

    assert (absent.recall, absent.precision) == (None, None)


def test_the_calibration_error_is_that_of_the_paper(outcomes: Outcomes) -> None:
    """Sum over bins of their share of pictures times |accuracy - confidence|, bins (low, high]."""
    error = 0.0
    for low, high in [(b / 15, (b + 1) / 15) for b in range(15)]:
        inside = [p for p in range(PICTURES) if low < outcomes.confidence[p] <= high]
        if inside:
            accuracy = np.mean([outcomes.predicted[p] == outcomes.truth[p] for p in inside])
            confidence = np.mean([outcomes.confidence[p] for p in inside])
            error += len(inside) / PICTURES * abs(accuracy - confidence)

    assert calibrate(outcomes).error == pytest.approx(error, rel=1e-9)


def test_bins_say_what_is_in_them() -> None:
    """Two of three right at 0.6 are in one bin of two, which is 1/15 too modest."""
    truth = np.array([0, 0, 0])
    predicted = np.array([0, 0, 1])
    outcomes = Outcomes(truth, predicted, np.array([0.6, 0.6, 0.6]), np.array([0, 0, 1]))

    calibration = calibrate(outcomes, bins=2)

    assert calibration.error == pytest.approx(2 / 3 - 0.6)
    assert calibration.bins[0] == Bin(0, 0.5, 0, None, None)
    assert calibration.bins[1].count == 3
    assert calibration.bins[1].accuracy == pytest.approx(2 / 3)


@pytest.mark.parametrize("confidence", [1.0, 1e-12])
def test_the_ends_of_the_scale_have_a_bin(confidence: float) -> None:
    """Certainty is in the last one."""
    outcomes = Outcomes(np.array([0]), np.array([0]), np.array([confidence]), np.array([0]))

    counts = [part.count for part in calibrate(outcomes).bins]

    assert counts == [int(confidence < 0.5), *[0] * 13, int(confidence > 0.5)]


def test_outcomes_of_batches_are_those_of_all(
    logits: NDArray[np.float32], truth: NDArray[np.int64], outcomes: Outcomes
) -> None:
    """However pictures are cut into batches."""
    scores = scores_of_batch(logits)

    parts = (slice(0, 3), slice(3, None))
    joined = join([judge(logits[part], scores[part], truth[part]) for part in parts])

    for name in ("truth", "predicted", "confidence", "rank"):
        assert getattr(joined, name).tolist() == getattr(outcomes, name).tolist()


def test_engines_agree_where_their_best_class_is_the_same() -> None:
    """And their scores differ by so much at most, over all batches."""
    ours = np.array([[0.75, 0.25], [0.375, 0.625]])
    theirs = np.array([[0.5, 0.5], [0.625, 0.375]])

    both = compare(ours, theirs).and_of(compare(ours[:1], ours[:1]))

    assert both == Agreement(3, 2, 0.25)
