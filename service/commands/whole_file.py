"""Files that a command writes whole or not at all; pipes and devices get what is written for them.

A link stays one: what it points to is written. A file keeps its mode.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from service.errors import BadSetting

_STANDARD = (1, 2)  # output and errors: a file to which a shell directs them is not replaced


def require_writable(flag: str, file: Path) -> None:
    """Refuse a file that could not be written later, before anything is computed for it.

    Raises:
        BadSetting: its folder is not there or takes no file, or it is a folder itself.
    """
    try:
        target = file.resolve()
        if target.is_dir():
            raise IsADirectoryError(None, "is a directory")
        if not _is_stream(file):
            tempfile.TemporaryFile(dir=target.parent).close()
        elif not os.access(file, os.W_OK):
            raise PermissionError(None, "permission denied")
    except (OSError, RuntimeError) as error:
        raise _refused(flag, file, error) from error


def require_different(files: Mapping[str, Path]) -> None:
    """Refuse two flags that name one file, of which the second would replace the first.

    Args:
        files: by their flags.

    Raises:
        BadSetting: two are the same, by whatever names; pipes and devices take both.
    """
    seen: dict[Path, str] = {}
    for flag, file in files.items():
        first = flag if _is_stream(file) else seen.setdefault(file.resolve(), flag)
        if first != flag:
            raise BadSetting(f"{first} and {flag} are the same file: {file}")


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
    try:
        with _passing_on(file) if _is_stream(file) else _replacing(file.resolve()) as beside:
            yield beside
    except OSError as error:
        raise _refused(flag, file, error) from error


@contextlib.contextmanager
def _replacing(file: Path) -> Iterator[Path]:
    beside = file.with_name(f".{os.getpid()}.{file.name}")
    try:
        yield beside
        with contextlib.suppress(FileNotFoundError):
            beside.chmod(stat.S_IMODE(file.stat().st_mode))
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)


@contextlib.contextmanager
def _passing_on(file: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        beside = Path(folder) / "whole"
        yield beside
        with beside.open("rb") as source, file.open("ab") as target:
            shutil.copyfileobj(source, target)


def _is_stream(file: Path) -> bool:
    """Whether a file takes what is written, and cannot be replaced: a pipe, a device."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return False
    return not stat.S_ISREG(found.st_mode) or any(
        os.path.samestat(found, os.fstat(number)) for number in _STANDARD
    )


def _refused(flag: str, file: Path, error: OSError | RuntimeError) -> BadSetting:
    reason = error.strerror if isinstance(error, OSError) else None
    return BadSetting(f"{flag} {file} cannot be written: {reason or error}")
