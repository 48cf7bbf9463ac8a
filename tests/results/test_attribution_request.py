"""What a client may ask of attribution."""

from __future__ import annotations

import numpy as np
import pytest

from service.errors import BadRequest
from service.results.attribution_request import BestClasses, ListedClasses, parse_classes

LABELS = ("cat", "dog", "3", "sea, lion", "twin", "twin")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("  ", None),
        ("top", BestClasses(1)),
        (" top:2 ", BestClasses(2)),
        ("top:99", BestClasses(6)),
        ("0", ListedClasses((0,))),
        ("dog, 0", ListedClasses((1, 0))),
        ("3", ListedClasses((2,))),
        ("sea, lion", ListedClasses((3,))),
        ("4,5", ListedClasses((4, 5))),
    ],
)
def test_classes_are_named_by_rank_index_or_label(text: str, expected: object) -> None:
    """A label goes before an index, the whole text before its parts."""
    assert parse_classes(text, LABELS) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cow", "no class 'cow'"),
        ("6", "no class '6'.*indices from 0 to 5"),
        ("-1", "no class '-1'"),
        ("9999999", "no class '9999999'"),
        ("cat,,dog", "no class ''"),
        ("top:0", "no class 'top:0'"),
        ("0,cat", "a class may be there once"),
        ("twin", "the classes 4, 5 are all called 'twin'"),
    ],
)
def test_what_names_no_class_is_refused(text: str, message: str) -> None:
    """With what would be understood."""
    with pytest.raises(BadRequest, match=message):
        parse_classes(text, LABELS)


def test_the_best_classes_are_those_with_the_largest_logits() -> None:
    """Of equal ones the lower index first."""
    logits = np.array([1, 3, 3, 2], np.float32)

    assert BestClasses(3).indices(logits) == [1, 2, 3]
    assert ListedClasses((3, 0)).indices(logits) == [3, 0]
