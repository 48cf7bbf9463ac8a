"""What a look at a store sees, where the file system does not answer as it should."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from service.errors import MissingFile, StoreError
from service.store.disk import MOST_FILES, MOST_FOLDERS, MOST_NAMES, Disk
from service.store.survey import Settled, survey_store
from tests.store.faulty_disk import FaultyDisk


class Endless(Disk):
    """A disk with folders without number; `listed` are those that were named."""

    def __init__(self) -> None:
        self.listed = 0

    def entries(self, folder: Path) -> Iterator[tuple[str, bool]]:
        """Go on for ever."""
        while True:
            self.listed += 1
            yield f"model{self.listed}", True


def mixed(store: Path, *paths: str) -> Path:
    """A store with the same version at several places."""
    for path in paths:
        shutil.copytree(store / "tiny" / "1", store / path, copy_function=os.link)
    return store


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("2", "2/manifest.json and tiny/1/manifest.json"),
        ("4/1", None),
        ("a", None),
        ("tiny/1/1", None),
        (".2", None),
    ],
)
def test_versions_beside_models_are_a_mixed_store(store: Path, path: str, told: str | None) -> None:
    """A folder `2` beside `tiny/1`; a model called 4, and what is no version, are not."""
    mixed(store, path)

    if told is None:
        assert survey_store(store, Settled()).layout == "models"
    else:
        with pytest.raises(StoreError) as refused:
            survey_store(store, Settled())
        assert refused.value.message == f"the store mixes layouts, it has {told}"


def test_a_manifest_beside_versions_is_a_mixed_store(store: Path) -> None:
    """In every pair of layouts."""
    model = mixed(store, "tiny/2/3") / "tiny"
    shutil.copy(model / "1" / "manifest.json", model)

    with pytest.raises(StoreError, match=r"it has manifest\.json and 1/manifest\.json and 2/3/man"):
        survey_store(model, Settled())


def test_a_store_keeps_its_layout(store: Path) -> None:
    """What had models does not become the versions of one, also while it is empty."""
    settled = Settled().after(survey_store(store, Settled()))
    shutil.move(store / "tiny" / "1", store / "1")

    with pytest.raises(StoreError) as refused:
        survey_store(store, settled)
    shutil.rmtree(store / "1")
    emptied = settled.after(survey_store(store, settled))

    assert refused.value.message == (
        "the store held models with their versions and now holds the versions of one model: "
        "a restart takes that over"
    )
    assert emptied == Settled("models", None)


@pytest.mark.parametrize("number", [errno.EACCES, errno.ESTALE, errno.EIO])
def test_a_folder_that_held_a_version_and_cannot_be_listed_is_an_error(
    store: Path, number: int
) -> None:
    """It is not a model that was removed; one that never held any is passed over."""
    disk = FaultyDisk({store / "tiny": number})
    seen = Settled("models", None, frozenset({"tiny"}))

    with pytest.raises(MissingFile) as refused:
        survey_store(store, seen, disk)

    assert refused.value.message == (
        f"{store / 'tiny'} cannot be listed: {os.strerror(number).lower()}"
    )
    assert survey_store(store, replace(seen, models=frozenset()), disk).places == ()


def test_a_link_to_a_model_that_leads_nowhere_is_no_removed_model(store: Path) -> None:
    """A volume that is away looks like that."""
    settled = Settled().after(survey_store(store, Settled()))
    shutil.move(store / "tiny", store.parent / "tiny")
    (store / "tiny").symlink_to(store.parent / "absent")

    with pytest.raises(MissingFile, match="tiny cannot be listed: no such file or directory"):
        survey_store(store, settled)
    (store / "tiny").unlink()

    assert survey_store(store, settled).places == ()


def test_a_file_that_cannot_be_told_is_seen_to_change_when_it_can(store: Path) -> None:
    """Its version is there, and whoever loads it is told."""
    disk = FaultyDisk({store / "tiny" / "1" / "labels.txt": errno.EIO})
    (before,) = survey_store(store, Settled(), disk).places
    disk.faults.clear()
    (after,) = survey_store(store, Settled(), disk).places

    assert [stamp.error for stamp in before.seen] == [None, None, errno.EIO]
    assert [stamp.error for stamp in after.seen] == [None, None, None]


def test_a_look_shows_that_a_file_may_be_read_now(store: Path) -> None:
    """A change of its mode changes neither its size nor its content's time."""
    before = survey_store(store, Settled())
    (store / "tiny" / "1" / "manifest.json").chmod(0o600)
    after = survey_store(store, Settled())

    assert before != after


@pytest.mark.parametrize("name", ["Tiny", "tiny model", os.fsdecode(b"\xff"), "x" * 65])
def test_versions_of_what_no_model_can_be_called_are_passed_over(store: Path, name: str) -> None:
    """And named; a folder without versions is of no interest."""
    (store / "lost+found").mkdir()
    mixed(store, f"{name}/1")

    survey = survey_store(store, Settled())

    assert [place.name for place in survey.places] == ["tiny"]
    assert survey.passed_over == {name}


def test_a_look_ends_in_a_store_without_end(tmp_path: Path) -> None:
    """After so many names, of files and folders alike."""
    disk = Endless()

    with pytest.raises(StoreError) as refused:
        survey_store(tmp_path, Settled(), disk)

    assert refused.value.message == f"the store has more than {MOST_NAMES:,} files and folders"
    assert disk.listed == MOST_NAMES + 1


@pytest.mark.parametrize(
    ("below", "prefix", "reason"),
    [
        ("", "m", f"the store has more than {MOST_FOLDERS:,} folders"),
        ("a", "", f"the store has the places of more than {MOST_FILES:,} files"),
    ],
)
def test_a_store_of_very_many_folders_is_refused(
    tmp_path: Path, below: str, prefix: str, reason: str
) -> None:
    """Of models, and of versions of one, each of which asks a network volume for three files."""

    class Numbered(Disk):
        def entries(self, folder: Path) -> Iterator[tuple[str, bool]]:
            if folder == tmp_path / below:
                return iter([(f"{prefix}{number}", True) for number in range(1, MOST_FILES)])
            return iter([(below, True)] if folder == tmp_path else [])

    with pytest.raises(StoreError) as refused:
        survey_store(tmp_path, Settled(), Numbered())

    assert refused.value.message == reason
