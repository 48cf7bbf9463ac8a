"""Which model a command takes from the store, and what it tells of those it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.commands.contents import load_chosen
from service.config import Settings
from service.errors import MissingFile, UnknownModel
from service.store.write import write_version
from tests.store_fixtures import new_tiny_version


@pytest.fixture
def broken(store: Path) -> Path:
    """A store whose latest version is broken."""
    directory = write_version(store, new_tiny_version(version="2"))
    (directory / "labels.txt").write_text("a\nb\nc\n")
    return store


def test_a_broken_latest_version_is_warned_of(broken: Path) -> None:
    """The one before it is taken: nobody should think that the latest one was."""
    warned: list[str] = []

    model = load_chosen(Settings(model_store=broken), None, None, warned.append)

    assert model.key == "tiny/1"
    assert len(warned) == 1
    assert warned[0].startswith("not served: tiny/2: ")


def test_who_asks_for_a_version_is_not_warned_of_others(broken: Path) -> None:
    """It is the one that they get."""
    assert load_chosen(Settings(model_store=broken), "tiny", "1", pytest.fail).key == "tiny/1"


def test_a_broken_version_is_refused_with_its_reason(broken: Path) -> None:
    """Beside those that are sound; one that is not there has none."""
    settings = Settings(model_store=broken)

    with pytest.raises(UnknownModel, match=r"no version '2' of tiny.*: 1; tiny/2: .*labels"):
        load_chosen(settings, None, "2", pytest.fail)
    with pytest.raises(UnknownModel, match=r"no version '3' of tiny, served are: 1$"):
        load_chosen(settings, None, "3", pytest.fail)


def test_a_model_of_which_nothing_is_sound_is_refused_with_the_reason(broken: Path) -> None:
    """Its name is known, then."""
    directory = write_version(broken, new_tiny_version(name="other"))
    (directory / "labels.txt").write_text("a\nb\nc\n")

    with pytest.raises(
        UnknownModel, match=r"no model 'other', served are: tiny; other/1: .*labels"
    ):
        load_chosen(Settings(model_store=broken), "other", None, pytest.fail)


def test_a_store_of_which_nothing_is_sound_is_told_with_the_reasons(broken: Path) -> None:
    """All of them, before the refusal."""
    warned: list[str] = []

    with pytest.raises(MissingFile, match=r"no model in .* can be served"):
        load_chosen(Settings(model_store=broken, models=("tiny/2",)), None, None, warned.append)

    assert [line.partition(": ")[2].partition(":")[0] for line in warned] == ["tiny/2"]
