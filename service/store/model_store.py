"""A store that a running service looks at again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from service.store.layout import VersionFolder, find_versions
from service.store.load import BrokenVersion, LoadedModel, read_manifest, try_to_load
from service.store.manifest import Manifest

Look = tuple[tuple[str, ...], ...]
"""What a look at a store sees: each file of each version, with its size and its time."""


@dataclass(frozen=True, slots=True)
class ModelStore:
    """A folder of models; every method reads files, and belongs beside the event loop.

    Attributes:
        folder: of the models, in any of its layouts.
        model_name: by which the store's one model answers.
    """

    folder: Path
    model_name: str | None = None

    def find(self) -> list[VersionFolder]:
        """The version folders, by name and then by number.

        Raises:
            StoreError: the store cannot be listed, or has several models for the one name.
        """
        return find_versions(self.folder, self.model_name)

    def look(self) -> Look:
        """See the files of every version, whose content is not read.

        Raises:
            StoreError: as `find` does.
        """
        return tuple(
            (folder.key, *seen)
            for folder in self.find()
            for seen in sorted(_files_of(folder.directory))
        )

    def manifest(self, version: VersionFolder) -> Manifest:
        """Read what a version says of itself.

        Raises:
            StoreError: there is no manifest, or none that is valid.
        """
        return read_manifest(version)

    def load(self, version: VersionFolder) -> LoadedModel | BrokenVersion:
        """Read and verify a version, or say why it cannot be served."""
        return try_to_load(version)


def _files_of(directory: Path) -> Iterator[tuple[str, ...]]:
    try:
        for path in directory.iterdir():
            stat = path.stat()
            yield path.name, str(stat.st_size), str(stat.st_mtime_ns)
    except OSError as error:  # it goes just now, or may not be read
        yield "", str(error.errno), ""
