"""What is kept while an evaluation runs, the record of it, and its page."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from service.evaluation.page import render
from service.evaluation.report import EngineSpeed, Report, build_report
from service.evaluation.tally import KEPT, SLOWEST, Picture, Tally, Unreadable

SPEED = EngineSpeed("eager", "fp32", "cpu", 8, 100.0)


def picture(number: int, truth: int) -> Picture:
    """A picture whose every pixel is its number, which took as many milliseconds."""
    pixels = np.full((3, 4, 4), number % 256, np.uint8)
    return Picture(f"pictures/{number}.png", truth, pixels, number / 1000)


def logits_of(predicted: list[int], confidence: list[float], classes: int) -> np.ndarray:
    """Logits (B, K) whose best class has a confidence, the others the same share of the rest."""
    scores = np.empty((len(predicted), classes), np.float64)
    for row, (best, score) in enumerate(zip(predicted, confidence, strict=True)):
        scores[row] = (1 - score) / (classes - 1)
        scores[row, best] = score
    return np.log(scores).astype(np.float32)


def tallied(classes: int) -> Tally:
    """A picture of each class, all taken for the first one, more confidently each time."""
    tally = Tally(["eager", "other"], 0)
    for number in range(classes):
        confidence = 0.5 + number / (3 * classes)
        ours = logits_of([0], [confidence], classes)
        tally.add([picture(number, number)], [ours, ours[:, ::-1]])
    return tally


def report_of(classes: int, label: str = "class") -> tuple[Report, list[np.ndarray]]:
    """The record of these, and the pixels of wrong pictures."""
    labels = tuple(f"{label} {index}" for index in range(classes))
    tally = tallied(classes)
    report = build_report("m/1", "pictures", labels, tally, [SPEED, SPEED])
    return report, [pixels for _, pixels in tally.wrong()]


def test_the_most_confidently_wrong_are_kept_worst_first() -> None:
    """With their pixels; what is right is none of them; of very many only so many stay."""
    tally = tallied(KEPT + 10)

    files = [wrong.file for wrong, _ in tally.wrong()]
    assert files == [f"pictures/{number}.png" for number in range(KEPT + 9, 9, -1)]
    assert [int(pixels[0, 0, 0]) for _, pixels in tally.wrong()] == list(range(KEPT + 9, 9, -1))
    assert [slow.ms for slow in tally.slowest()] == list(range(KEPT + 9, KEPT + 9 - SLOWEST, -1))


def test_a_wrong_picture_has_the_scores_of_both_classes() -> None:
    """Of what it was taken for, and of what it is."""
    report, _ = report_of(3)

    worst = report.wrong[0]
    assert (worst.truth, worst.predicted) == (2, 0)
    assert worst.score == pytest.approx(0.5 + 2 / 9, abs=1e-6)
    assert worst.score_of_truth == pytest.approx((1 - worst.score) / 2, abs=1e-6)


def test_a_picture_of_which_an_engine_says_no_number_is_not_counted() -> None:
    """Whichever engine it is; the others of its batch are."""
    tally = Tally(["eager", "other"], 0)
    sound = logits_of([0, 1, 1], [0.9, 0.9, 0.9], 2)
    odd = sound.copy()
    odd[1, 0] = np.nan

    tally.add([picture(number, 1) for number in range(3)], [sound, odd])
    tally.add([picture(3, 1)], [odd[1:2], odd[1:2]])

    reason = "the model gave logits that are not finite"
    assert tally.count == 2
    assert tally.unreadable == [Unreadable(f"pictures/{n}.png", reason) for n in (1, 3)]
    assert tally.agreements[1].same == 2


def test_the_record_has_every_engine_and_class() -> None:
    """Top-5 where there are more classes than five, agreement for all but the reference."""
    report, _ = report_of(8)

    first, other = report.engines
    assert (first.top1.count, other.top1.count) == (1, 1)
    assert first.top5 is not None
    assert (first.agreement, other.agreement and other.agreement.count) == (None, 0)
    assert [of.count for of in report.classes] == [1] * 8
    assert sum(cell.count for cell in report.confusion) == report.pictures == 8
    assert report_of(5)[0].engines[0].top5 is None


def test_a_confusion_of_few_classes_is_a_table() -> None:
    """Its numbers can be read, and what labels hold is text."""
    page = render(*report_of(8, label="<i>&"))
    largest = render(*report_of(60))

    (table,) = re.findall(r'<table class="confusion">.*?</table>', page, re.DOTALL)
    assert table.count("<tr>") == 9
    assert table.count("&lt;i&gt;&amp; 7") == 2
    assert "<i>" not in page
    assert 'class="confusion"' in largest


def matrix_of(page: str) -> np.ndarray:
    """The levels of grey of a page's confusion."""
    (encoded,) = re.findall(r'<img class="matrix".*?base64,([^"]*)"', page, re.DOTALL)
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as matrix:
        return np.asarray(matrix)


def test_a_confusion_of_many_classes_is_a_picture() -> None:
    """A pixel for each cell, black where all of a class are; beside it, the largest ones."""
    page = render(*report_of(61))

    levels = matrix_of(page)
    assert levels.shape == (61, 61)
    assert set(levels[:, 0]) == {0}  # everything was taken for the first class
    assert set(levels[:, 1:].ravel()) == {255}
    assert 'class="confusion"' not in page
    assert "A point is" not in page


@pytest.mark.parametrize(("classes", "side"), [(500, 500), (501, 251), (1000, 500)])
def test_a_confusion_of_very_many_classes_loses_no_cell(classes: int, side: int) -> None:
    """A pixel stands for several cells, and is as dark as the darkest of them."""
    tally = Tally(["eager"], 0)
    odd = np.arange(1, classes, 2)  # each of these, and no other, is taken for its neighbour
    logits = np.zeros((len(odd), classes), np.float32)
    logits[np.arange(len(odd)), odd - 1] = 100
    tally.add([picture(0, int(truth)) for truth in odd], [logits])
    labels = tuple(map(str, range(classes)))

    report = build_report("m/1", "pictures", labels, tally, [SPEED])
    page = render(report, [pixels for _, pixels in tally.wrong()])

    levels = matrix_of(page)
    assert levels.shape == (side, side)
    assert (levels == 0).sum() == len(odd)
    assert ("A point is 2 by 2 classes" in page) == (classes > 500)


def test_a_page_without_faults_says_so() -> None:
    """Nothing is wrong, and nothing is shown of it."""
    tally = Tally(["eager"], 0)
    tally.add([picture(1, 0)], [logits_of([0], [0.9], 2)])
    report = build_report("m/1", "pictures", ("a", "b"), tally, [SPEED])

    page = render(report, [])

    assert "None is wrong." in page
    assert "Not evaluated" not in page
    assert "Most frequent confusions" not in page
