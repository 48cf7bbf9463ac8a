"""What a client may ask of attribution."""

from __future__ import annotations

import numpy as np
import orjson
import pytest

from service.errors import BadRequest
from service.results.attribution_request import (
    BestClasses,
    ClassNames,
    ListedClasses,
    parse_classes,
)

NAMES = ClassNames(("cat", "dog", "3", "sea, lion", "twin", "twin", " lead", "top"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("  ", None),
        ("top", BestClasses(1)),
        (" top:2 ", BestClasses(2)),
        ("top:99", BestClasses(8)),
        ("0", ListedClasses((0,))),
        ("dog, 0", ListedClasses((1, 0))),
        ("3", ListedClasses((2,))),
        ("sea, lion", ListedClasses((3,))),
        ("4,5", ListedClasses((4, 5))),
        ("index:3", ListedClasses((3,))),
        ("dog, index:2 ,index:7", ListedClasses((1, 2, 7))),
        (" lead", ListedClasses((6,))),
        ("cat, lead", ListedClasses((0, 6))),
    ],
)
def test_classes_are_named_by_rank_index_or_label(text: str, expected: object) -> None:
    """A label goes before a number, the whole text before its parts; `index:N` is never a label."""
    assert parse_classes(text, NAMES) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cow", "no class 'cow'"),
        ("8", "no class '8'.*index:N, from 0 to 7"),
        ("index:8", "no class 'index:8'"),
        ("index:", "no class 'index:'"),
        ("3,index:2", "a class may be there once"),
        ("-1", "no class '-1'"),
        ("9999999", "no class '9999999'"),
        ("cat,,dog", "no class ''"),
        ("top:0", "no class 'top:0'"),
        ("0,cat", "a class may be there once"),
        ("twin", "2 classes are called 'twin': name one by its index, as index:4"),
    ],
)
def test_what_names_no_class_is_refused(text: str, message: str) -> None:
    """With what would be understood."""
    with pytest.raises(BadRequest, match=message):
        parse_classes(text, NAMES)


def test_the_best_classes_are_those_with_the_largest_logits() -> None:
    """Of equal ones the lower index first."""
    logits = np.array([1, 3, 3, 2], np.float32)

    assert BestClasses(3).indices(logits) == [1, 2, 3]
    assert ListedClasses((3, 0)).indices(logits) == [3, 0]


def test_a_number_that_is_a_label_is_that_label() -> None:
    """As of folders that were sorted by name; what names an index goes by `index:N`."""
    names = ClassNames(("1", "10", "2"))

    assert parse_classes("1", names) == ListedClasses((0,))
    assert parse_classes("index:1", names) == ListedClasses((1,))


def test_records_of_classes_are_told_with_their_longest_label() -> None:
    """In whatever letters, as they are written into JSON."""
    names = ClassNames(("cat", "\u732b" * 100))
    record = {"index": 21_840, "label": "\u732b" * 100, "logit": -12.345678806304932, "bias": -1e-8}

    assert len(orjson.dumps([record] * 3)) <= names.cost_of(3).answer_bytes
