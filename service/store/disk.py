"""The file system beneath a store: no error of it is lost, and no folder is read without end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from service.errors import MissingFile, StoreError
from service.store.files import describe_os_error, printable

MOST_FOLDERS = 10_000  # that a look lists; it holds the GIL for part of the time, some seconds
MOST_NAMES = 100_000  # in all of them
MOST_FILES = 30_000  # that a look asks for: of 10,000 versions; on a network each takes its time


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What tells one state of a file from another; a read-only volume changes the last two alone.

    Attributes:
        error: by its number, why nothing is known of the file.
    """

    size: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0
    error: int | None = None


class Disk:
    """The calls of the file system that a look at a store makes."""

    def entries(self, folder: Path) -> Iterator[tuple[str, bool]]:
        """The names in a folder, and whether each may be a folder.

        A link that leads nowhere may be one: a volume that is not there now looks like that.

        Raises:
            OSError: it cannot be listed.
        """
        with os.scandir(folder) as entries:
            for entry in entries:
                yield entry.name, _may_be_folder(entry)

    def stat(self, file: Path) -> os.stat_result:
        """The state of a file.

        Raises:
            OSError: it cannot be told.
        """
        return file.stat()


class BoundedDisk:
    """Looks at a store once, within bounds.

    Args:
        disk: the calls.
    """

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._folders = 0
        self._names = 0
        self._files = 0

    def folders_in(self, folder: Path) -> list[str]:
        """The names of the visible folders in a folder, in no order.

        Raises:
            MissingFile: it cannot be listed.
            StoreError: this is too much for one look.
        """
        self._folders += 1
        if self._folders > MOST_FOLDERS:
            raise StoreError(f"the store has more than {MOST_FOLDERS:,} folders")
        found = []
        try:
            for name, may_be_folder in self._disk.entries(folder):
                self._names += 1
                if self._names > MOST_NAMES:
                    raise StoreError(f"the store has more than {MOST_NAMES:,} files and folders")
                if may_be_folder and not name.startswith("."):
                    found.append(name)
        except OSError as error:
            reason = describe_os_error(error)
            raise MissingFile(f"{printable(folder)} cannot be listed: {reason}") from error
        return found

    def stamp(self, file: Path) -> FileStamp:
        """The state of a file, or why it cannot be told.

        Raises:
            StoreError: this is too much for one look.
        """
        self._files += 1
        if self._files > MOST_FILES:
            raise StoreError(f"the store has the places of more than {MOST_FILES:,} files")
        try:
            status = self._disk.stat(file)
        except OSError as error:
            return FileStamp(error=error.errno)
        return FileStamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _may_be_folder(entry: os.DirEntry[str]) -> bool:
    try:
        if entry.is_symlink():
            return not Path(entry.path).exists() or Path(entry.path).is_dir()
        return entry.is_dir()
    except OSError:
        return True
