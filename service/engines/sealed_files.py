"""Files that are read whole or not at all: what an engine keeps between two starts."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import structlog

log = structlog.stdlib.get_logger(__name__)

DIGEST_BYTES = hashlib.sha256().digest_size


class SealedFiles:
    """A folder of files that each begin with the SHA-256 of the rest.

    Services may share the folder: a file appears under its name when it is complete, and the last
    one to write it wins.

    Args:
        folder: made when a file is first written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, name: str) -> bytes | None:
        """Return a file's content; None where it is missing, unreadable or damaged."""
        try:
            sealed = (self.folder / name).read_bytes()
        except OSError:
            return None
        digest, content = sealed[:DIGEST_BYTES], sealed[DIGEST_BYTES:]
        return content if hashlib.sha256(content).digest() == digest else None

    def write(self, name: str, content: bytes) -> None:
        """Put a file in its place, instead of an older one.

        Raises:
            OSError: the folder cannot be written, or the disk is full; nothing is left behind.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor, unfinished = tempfile.mkstemp(dir=self.folder, suffix=".unfinished")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(hashlib.sha256(content).digest() + content)
            Path(unfinished).replace(self.folder / name)
        except OSError:
            Path(unfinished).unlink(missing_ok=True)
            raise

    def keep(self, name: str, content: bytes) -> None:
        """Write a file if that is possible; else say so: who wrote it can do without."""
        try:
            self.write(name, content)
        except OSError as error:
            log.warning("not kept for the next start", folder=str(self.folder), error=str(error))
