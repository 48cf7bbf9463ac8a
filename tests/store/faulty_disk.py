"""A file system that fails where a test says so, as a network volume does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from service.store.disk import Disk


class FaultyDisk(Disk):
    """The file system, but for faults.

    Args:
        faults: the number of the error by folder that is listed, or file that is asked for.
    """

    def __init__(self, faults: dict[Path, int]) -> None:
        self.faults = faults

    def entries(self, folder: Path) -> Iterator[tuple[str, bool]]:
        """List a folder, or fail."""
        self._fail(folder)
        return super().entries(folder)

    def stat(self, file: Path) -> os.stat_result:
        """Ask for a file, or fail."""
        self._fail(file)
        return super().stat(file)

    def _fail(self, path: Path) -> None:
        number = self.faults.get(path)
        if number is not None:
            raise OSError(number, os.strerror(number))
