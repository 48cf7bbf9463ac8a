"""Models that settings name in vain: told before they are loaded, as they would be then."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.commands.contents import load_served
from service.commands.wanted import check_models
from service.config import Settings
from service.errors import ServiceError
from service.serving.choice import choose_default

Say = Callable[[str], None]


@pytest.fixture
def store(tiny_version: Path) -> Path:
    """The store with the tiny model, only read."""
    return tiny_version.parents[1]


def load(settings: Settings, say: Say) -> None:
    """Load what is to be served, and choose the default model."""
    choose_default(load_served(settings, say).models, settings.default_model)


def told_by(check: Callable[[Settings, Say], None], settings: Settings) -> list[object]:
    """What is said, and the error that follows."""
    said: list[object] = []
    with pytest.raises(ServiceError) as error:
        check(settings, said.append)
    return [*said, type(error.value), *error.value.lines]


IN_VAIN: dict[str, dict[str, Any]] = {
    "models": {"models": ("nope",)},
    "version": {"models": ("tiny/7",)},
    "several": {"models": ("nope", "tiny/7")},
    "weights": {"models": ("nope",), "version_weights": ("other/1=1",)},
    "default": {"default_model": "nope"},
    "default of others": {"models": ("tiny/1",), "default_model": "tiny/1"},
}


@pytest.mark.parametrize("changes", IN_VAIN.values(), ids=IN_VAIN.keys())
def test_what_is_named_in_vain_is_told_in_the_words_of_loading(
    store: Path, changes: dict[str, Any]
) -> None:
    """Line by line, so that whoever reads them need not know who looked first."""
    settings = Settings(model_store=store, **changes)

    assert told_by(check_models, settings) == told_by(load, settings)


@pytest.mark.parametrize("folder", ["", "something", "a b/1"])
def test_a_store_with_nothing_to_serve_is_told_likewise(tmp_path: Path, folder: str) -> None:
    """Whatever else lies in it."""
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    settings = Settings(model_store=tmp_path)

    assert told_by(check_models, settings) == told_by(load, settings)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"models": ("tiny",), "default_model": "tiny"},
        {"models": ("tiny/1", "nope")},
        {"model_name": "mine", "default_model": "mine"},
    ],
)
def test_what_can_be_loaded_is_not_refused(store: Path, changes: dict[str, Any]) -> None:
    """What is missing beside it is told when it is loaded."""
    said: list[str] = []

    check_models(Settings(model_store=store, **changes), said.append)

    assert said == []


def test_the_name_of_a_stores_one_model_is_known(tiny_version: Path) -> None:
    """Where its folder is the store, its manifest says it."""
    check_models(Settings(model_store=tiny_version, default_model="tiny"), pytest.fail)

    told = told_by(check_models, Settings(model_store=tiny_version, default_model="nope"))

    assert told == told_by(load, Settings(model_store=tiny_version, default_model="nope"))
