"""Files that a command writes whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from service.errors import BadSetting


def require_writable(flag: str, file: Path) -> None:
    """Refuse a file that could not be written later, before anything is computed for it.

    Raises:
        BadSetting: its folder is not there or takes no file, or it is a folder itself.
    """
    if file.is_dir():
        raise BadSetting(f"{flag} {file} cannot be written: is a directory")
    try:
        tempfile.TemporaryFile(dir=file.parent).close()
    except OSError as error:
        raise _refused(flag, file, error) from error


def write_whole(flag: str, file: Path, content: bytes) -> None:
    """Write a file, or leave what was there.

    Raises:
        BadSetting: it cannot be written.
    """
    with writing_whole(flag, file) as beside:
        beside.write_bytes(content)


@contextlib.contextmanager
def writing_whole(flag: str, file: Path) -> Iterator[Path]:
    """Have a file written under another name, which takes its place when that is done.

    Raises:
        BadSetting: it cannot be written.
    """
    beside = file.with_name(f".{os.getpid()}.{file.name}")
    try:
        try:
            yield beside
            beside.replace(file)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise _refused(flag, file, error) from error


def _refused(flag: str, file: Path, error: OSError) -> BadSetting:
    return BadSetting(f"{flag} {file} cannot be written: {error.strerror or error}")
