"""Files that are sound or count as missing: what an engine keeps between two starts."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

import structlog

log = structlog.stdlib.get_logger(__name__)

CHECKSUM_BYTES = hashlib.sha256().digest_size
UNFINISHED = ".unfinished"
BUILDING = "building"  # a folder of folders, each of one build
READABLE = 0o644  # also by a service of another user than the one that built it
ABANDONED_S = 86_400.0  # a day: no file takes so long to be written


class _Kept(NamedTuple):
    """A file of the folder, when it was last used and how large it is."""

    last_used: float
    size: int
    path: Path


class ArtifactCache:
    """A folder of files that each begin with the SHA-256 of the rest.

    Services may share the folder. A file appears under its name when it is complete, and the last
    one to write it wins. Files may go at any time, since nobody needs one for longer than it takes
    to read it: whoever misses one builds it again.

    Args:
        folder: made when a file is first written.
        limit_bytes: of all files together; beyond it those that nobody has read or written for
            longest are removed. None keeps everything.
    """

    def __init__(self, folder: Path, limit_bytes: int | None = None) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes

    def holds(self, name: str) -> bool:
        """Whether a file of that name can be read; only `open` knows whether it is sound."""
        return os.access(self.folder / name, os.R_OK)

    def open(self, name: str) -> BufferedReader | None:
        """Open a file at the start of its content; None where it is missing or damaged.

        Whoever writes another one meanwhile puts it beside the open one, which stays as it is.
        """
        path = self.folder / name
        try:
            file = path.open("rb")
        except OSError:
            return None
        if not _is_sound(file):
            file.close()
            return None
        with contextlib.suppress(OSError):  # a folder that cannot be written needs no order
            os.utime(path)
        file.seek(CHECKSUM_BYTES)
        return file

    def read(self, name: str) -> bytes | None:
        """Return a file's content; None where it is missing or damaged."""
        file = self.open(name)
        if file is None:
            return None
        with file, contextlib.suppress(OSError):
            return file.read()
        return None

    def why_not(self, size: int) -> str | None:
        """What stands in the way of a file of so many bytes; None where it can be kept.

        The folder is made where it is not there.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self.folder).free
        except OSError as error:
            return str(error)
        if not os.access(self.folder, os.W_OK | os.X_OK):
            return "the folder cannot be written"
        if free < size:
            return f"{free / 1e6:.0f} MB are free, and {size / 1e6:.0f} may be needed"
        if self.limit_bytes is not None and self.limit_bytes < size:
            limit = self.limit_bytes / 1e6
            return f"the limit is {limit:g} MB, and {size / 1e6:.0f} may be needed"
        return None

    def write(self, name: str, content: bytes | BufferedReader) -> None:
        """Put a file in its place, instead of an older one, and make room for it.

        Args:
            name: of the file.
            content: what it holds; of a file all of it, which is never in memory as a whole.

        Raises:
            OSError: the folder cannot be written, or the disk is full; nothing is left behind.
        """
        source = io.BytesIO(content) if isinstance(content, bytes) else content
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor, unfinished = tempfile.mkstemp(dir=self.folder, suffix=UNFINISHED)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(file.fileno(), READABLE)
                file.write(hashlib.file_digest(source, "sha256").digest())
                source.seek(0)
                shutil.copyfileobj(source, file)
            Path(unfinished).replace(self.folder / name)
        except OSError:
            Path(unfinished).unlink(missing_ok=True)
            raise
        self._make_room(self.folder / name)

    @contextlib.contextmanager
    def workspace(self) -> Iterator[Path]:
        """Lend an empty folder beside the cache's, on the same disk, to build a file in."""
        building = self.folder.parent / BUILDING
        building.mkdir(parents=True, exist_ok=True)
        for left in building.iterdir():
            with contextlib.suppress(OSError):  # another service may have been first
                if time.time() - left.stat().st_mtime > ABANDONED_S:
                    shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=building) as folder:
            yield Path(folder)

    @contextlib.contextmanager
    def with_room_for(self, size: int) -> Iterator[ArtifactCache]:
        """Lend this cache or, where it cannot keep so many bytes, one that is gone afterwards.

        Its folder has the same name, and nothing else beside it.
        """
        with tempfile.TemporaryDirectory() as folder:
            files = self
            if reason := self.why_not(size):
                log.warning("not kept for the next start", folder=str(self.folder), reason=reason)
                files = ArtifactCache(Path(folder) / self.folder.name)
            yield files

    def keep(self, name: str, content: bytes) -> None:
        """Write a file if that is possible; else say so: who wrote it can do without."""
        try:
            self.write(name, content)
        except OSError as error:
            log.warning("not kept for the next start", folder=str(self.folder), error=str(error))

    def _make_room(self, newest: Path) -> None:
        """Remove what was abandoned half-written, and the longest unused beyond the limit."""
        room = float("inf") if self.limit_bytes is None else self.limit_bytes
        for file in sorted(self._files(), reverse=True):
            if file.path.suffix == UNFINISHED:
                is_over = time.time() - file.last_used > ABANDONED_S
            else:
                room -= file.size
                is_over = room < 0 and file.path != newest
            if is_over:
                log.info("removed what was not used for long", file=file.path.name)
                with contextlib.suppress(OSError):  # another service may have been first
                    file.path.unlink()

    def _files(self) -> Iterator[_Kept]:
        for path in self.folder.iterdir():
            with contextlib.suppress(OSError):
                stat = path.stat()
                yield _Kept(stat.st_mtime, stat.st_size, path)


def _is_sound(file: BufferedReader) -> bool:
    """Whether the rest of a file has the SHA-256 that it begins with, read in small parts."""
    try:
        return file.read(CHECKSUM_BYTES) == hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return False
