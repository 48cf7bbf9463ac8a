"""What a look at a store sees: its layout, the folders of its versions, and their files' times.

<store>/<name>/<version>/    "models": models with their versions
<store>/<version>/           "versions": the versions of one model
<store>/                     "files": one version, whose files lie in the store itself
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from service.config import is_name, is_version
from service.errors import MissingFile, StoreError
from service.store.disk import BoundedDisk, Disk, FileStamp
from service.store.files import LABELS_FILE, MANIFEST_FILE, WEIGHTS_FILE

Layout = Literal["models", "versions", "files"]

IN_WORDS: dict[Layout, str] = {
    "models": "models with their versions",
    "versions": "the versions of one model",
    "files": "the files of one version",
}
VERSION_FILES = (MANIFEST_FILE, WEIGHTS_FILE, LABELS_FILE)
NOT_THERE = {errno.ENOENT, errno.ENOTDIR}

Seen = tuple[FileStamp, ...]
"""The states of a version's files, in the order of `VERSION_FILES`."""


@dataclass(frozen=True, slots=True)
class Place:
    """A folder that is to hold a version, with the name and the number that its path has."""

    directory: Path
    seen: Seen
    name: str | None = None
    version: str | None = None

    @property
    def has_manifest(self) -> bool:
        """Whether a manifest is there for certain."""
        return self.seen[0].error is None

    @property
    def may_hold_files(self) -> bool:
        """Whether any file of a version is there, or cannot be told."""
        return any(stamp.error not in NOT_THERE for stamp in self.seen)


@dataclass(frozen=True, slots=True)
class Survey:
    """What is there; no file of it was read.

    Attributes:
        layout: None where nothing tells it.
        places: by name and then by number.
        passed_over: folders that hold versions of what no model can be called.
    """

    layout: Layout | None
    places: tuple[Place, ...]
    passed_over: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Settled:
    """What a store was taken for, which later looks at it do not change.

    Attributes:
        layout: None until a look has told it.
        name: by which the store's one model answers; None where folders have the names.
        models: the folders that held versions when the store was last looked at.
        passed_over: those that were reported, as no model can be called so.
    """

    layout: Layout | None = None
    name: str | None = None
    models: frozenset[str] = frozenset()
    passed_over: frozenset[str] = frozenset()

    def after(self, survey: Survey) -> Settled:
        """What holds after a look."""
        models = frozenset(place.name for place in survey.places if place.name is not None)
        return replace(
            self,
            layout=self.layout or survey.layout,
            models=models,
            passed_over=survey.passed_over,
        )


def survey_store(store: Path, settled: Settled, disk: Disk | None = None) -> Survey:
    """Look at a store, and read no file of it.

    Files, dot folders and folders that hold no version are passed over, as are those that cannot
    be read and never held one: a volume's `lost+found`.

    Args:
        store: the folder of the models.
        settled: what is known of it.
        disk: in place of the file system.

    Raises:
        MissingFile: the store, or a model's folder in it, cannot be listed.
        StoreError: it has more than one layout, another one than before, or too much in it.
    """
    bounded = BoundedDisk(disk or Disk())
    names = sorted(bounded.folders_in(store))
    own = Place(store, _stamps(bounded, store))
    numbered = _numbered(bounded, store, names)
    models: list[Place] = []
    passed_over = set()
    for name in names:
        versions = _versions_in(bounded, store / name, is_known=name in settled.models)
        if is_name(name):
            models += _numbered(bounded, store / name, versions, name)
        elif versions:
            passed_over.add(name)
    found: dict[Layout, Sequence[Place]] = {
        "files": [own] if own.seen[0].error not in NOT_THERE else [],
        "versions": [place for place in numbered if place.has_manifest],
        "models": [place for place in models if place.has_manifest],
    }
    layout = _layout_of(store, found, settled.layout)
    everything: dict[Layout, Sequence[Place]] = {
        "files": [own] if own.may_hold_files else [],
        "versions": numbered,
        "models": models,
    }
    return Survey(layout, tuple(everything[layout or "models"]), frozenset(passed_over))


def _layout_of(
    store: Path, found: dict[Layout, Sequence[Place]], settled: Layout | None
) -> Layout | None:
    """The one layout of which there are manifests; where there are none, what it was before."""
    seen = {layout: places[0] for layout, places in found.items() if places}
    if len(seen) > 1:
        manifests = (place.directory.relative_to(store) / MANIFEST_FILE for place in seen.values())
        raise StoreError(
            f"the store mixes layouts, it has {' and '.join(str(path) for path in manifests)}"
        )
    layout = next(iter(seen), settled)
    if layout is not None and settled not in (None, layout):
        raise StoreError(
            f"the store held {IN_WORDS[settled]} and now holds {IN_WORDS[layout]}: "
            "a restart takes that over"
        )
    return layout


def _versions_in(disk: BoundedDisk, folder: Path, *, is_known: bool) -> list[str]:
    """The numbers of the version folders in what may be a model's folder."""
    try:
        return [name for name in disk.folders_in(folder) if is_version(name)]
    except MissingFile:
        if is_known:
            raise
        return []


def _numbered(
    disk: BoundedDisk, folder: Path, names: Iterable[str], model: str | None = None
) -> list[Place]:
    """The version folders among those of some names, oldest first."""
    return [
        Place(folder / name, _stamps(disk, folder / name), model, name)
        for name in sorted(filter(is_version, names), key=int)
    ]


def _stamps(disk: BoundedDisk, directory: Path) -> Seen:
    return tuple(disk.stamp(directory / name) for name in VERSION_FILES)
