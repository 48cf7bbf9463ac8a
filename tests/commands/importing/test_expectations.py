"""Pictures whose class is known, checked before a model is published."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.commands.importing.expectations import (
    Expectation,
    check_expectations,
    read_expectation,
)
from service.config import Settings
from service.engines.calibration import image_limits
from service.errors import BadCheckpoint, BadRequest, MissingFile, UndecodableImage
from tests.running import grey, tiny_model
from tests.store_fixtures import LABELS

LIMITS = image_limits(Settings())


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A grey picture, of which the tiny model says one of its three classes."""
    file = tmp_path / "a=b.png"
    file.write_bytes(grey(90))
    return file


@pytest.mark.parametrize(
    ("said", "indices"),
    [("dog", (1,)), ("DOG", (1,)), ("2", (2,)), ("Crane", (3, 4)), ("0", (5,)), ("red fox", (6,))],
)
def test_a_class_is_a_label_else_an_index(said: str, indices: tuple[int, ...]) -> None:
    """In any case of letters; two classes of one label are both meant."""
    labels = ("cat", "dog", "gnu", "crane", "crane", "0", "red fox")

    assert read_expectation(f"a=b.png={said}", labels) == Expectation(
        Path("a=b.png"), said, indices
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a.png", "--expect 'a.png' must be PICTURE=CLASS"),
        ("=cat", "--expect '=cat' must be PICTURE=CLASS"),
        ("a.png=cow", "--expect 'a.png=cow': 'cow' is no label and no index from 0 to 2"),
        ("a.png=3", "--expect 'a.png=3': '3' is no label and no index from 0 to 2"),
    ],
)
def test_what_names_no_class_is_refused(text: str, reason: str) -> None:
    """Before any picture is looked at."""
    with pytest.raises(BadRequest) as caught:
        read_expectation(text, LABELS)

    assert caught.value.message == reason


def test_what_is_answered_is_told_and_anything_else_refused(picture: Path) -> None:
    """The best classes with their scores, and where the expected one stands."""
    model = tiny_model()
    expectations = [Expectation(picture, label, (index,)) for index, label in enumerate(LABELS)]

    with pytest.raises(BadCheckpoint) as caught:
        check_expectations(model, expectations, LIMITS)

    start = f"not what is expected: {picture}: "
    complaints = caught.value.message.removeprefix(start).split(f"; {picture}: ")
    best = complaints[0].partition(" ")[0]
    right = [Expectation(picture, best, (LABELS.index(best),))]
    (answer,) = check_expectations(model, right, LIMITS)
    assert len(complaints) == 2
    assert {text.split(" is number ")[1][0] for text in complaints} == {"2", "3"}
    assert complaints[0].startswith(answer.removeprefix(f"{picture}: "))


def test_without_expectations_nothing_is_computed() -> None:
    """Nor said."""
    assert check_expectations(tiny_model(), [], LIMITS) == []


def test_a_picture_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """As the service would refuse it."""
    (tmp_path / "text.png").write_text("text")

    with pytest.raises(MissingFile, match=r"absent\.png cannot be read"):
        check_expectations(tiny_model(), [Expectation(tmp_path / "absent.png", "", (0,))], LIMITS)
    with pytest.raises(UndecodableImage, match=r"/text\.png: \S"):
        check_expectations(tiny_model(), [Expectation(tmp_path / "text.png", "", (0,))], LIMITS)
