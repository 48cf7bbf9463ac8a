"""Which versions are served, as a table."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from service.config import Settings
from service.store.layout import VersionFolder
from service.store.load import load_store
from service.store.policy import Chosen, VersionPolicy

FOUND = [VersionFolder("a", version, Path(version)) for version in "123"]


def numbers(folders: tuple[VersionFolder, ...]) -> str:
    """Versions as a word."""
    return "".join(folder.version for folder in folders)


@pytest.mark.parametrize(
    ("settings", "all_of", "first_of"),
    [
        ({}, "", "321"),
        ({"version_policy": "all"}, "123", ""),
        ({"models": "a"}, "", "321"),
        ({"models": "b"}, "", ""),
        ({"models": "a/2"}, "2", ""),
        ({"models": "a/1,a/3"}, "13", ""),
        ({"models": "a,a/1"}, "1", "321"),
        ({"models": "b,a/7"}, "", ""),
        ({"version_weights": "a/1=95,a/2=5"}, "12", ""),
        ({"version_weights": "a/1=95,a/2=5", "models": "a"}, "12", ""),
        ({"version_weights": "a/1=1", "models": "a/3"}, "13", ""),
        ({"version_weights": "b/1=1"}, "", "321"),
        ({"version_weights": "a/2=1", "version_policy": "all"}, "2", ""),
    ],
)
def test_versions_are_chosen_by_the_settings(
    settings: dict[str, str], all_of: str, first_of: str
) -> None:
    """Latest, all, a list, pinned, and those that have a share."""
    wanted = VersionPolicy.of(Settings(**settings)).choose(FOUND)  # type: ignore[arg-type]

    assert (numbers(wanted.all_of), numbers(wanted.first_of)) == (all_of, first_of)


def test_of_nothing_nothing_is_wanted() -> None:
    """A model that has gone."""
    assert VersionPolicy().choose([]) == Chosen()


def test_the_latest_is_the_newest_that_can_be_served(store: Path) -> None:
    """A broken one is reported, an older one than the one that serves is not even read."""
    for version in ("2", "3"):
        shutil.copytree(store / "tiny" / "1", store / "tiny" / version)  # which is not theirs
    shutil.copytree(store / "tiny" / "1", store / "ant" / "1")

    contents = load_store(store, policy=VersionPolicy(("tiny",), is_latest=True))

    assert [model.key for model in contents.models] == ["tiny/1"]
    assert [broken.key for broken in contents.broken] == ["tiny/2", "tiny/3"]


def test_a_version_with_a_share_that_is_not_there_is_reported(store: Path) -> None:
    """As one that is named to be served."""
    policy = VersionPolicy(weighted=frozenset({"tiny/1", "tiny/2"}))

    contents = load_store(store, policy=policy)

    assert [model.key for model in contents.models] == ["tiny/1"]
    assert [broken.key for broken in contents.broken] == ["tiny/2"]
