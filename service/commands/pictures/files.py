"""Files that a command is to look at: named ones, those of folders, and those of patterns."""

from __future__ import annotations

import glob
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.commands.pictures.patterns import matches_of
from service.errors import BadSetting, ImageTooLarge, UndecodableImage
from service.images.contract import ImageLimits
from service.images.formats import PICTURE_SUFFIXES

_CONTROLS = (*range(32), 127)
_UNSEEN = (*range(128, 160), 0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
_ESCAPES = {
    ord("\\"): r"\\",
    **{code: f"\\x{code:02x}" for code in _CONTROLS},
    **{code: f"\\u{code:04x}" for code in _UNSEEN},  # lines end by some, others turn text around
    **{0xDC00 + byte: f"\\x{byte:02x}" for byte in range(128, 256)},  # what is no UTF-8
}


_Identity = tuple[int, int]  # device and inode


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file, or a folder that cannot be listed, and then why not."""

    path: Path
    reason: str | None = None


class FileFinder:
    """Goes through files, those of folders recursively, and notes what it passes over.

    Of a folder come its own files by name, then those of its folders by name. Names that begin with
    a dot are passed over, and files that no suffix of a picture calls one. Links are followed, but
    by `**`, and one that leads nowhere is a file that cannot be read; neither folders nor files
    that were seen already are again. What is named itself counts always.

    Args:
        without: what is written meanwhile, a folder or a file, which is passed over.

    Attributes:
        others: how many files of folders were passed over, by their suffixes.
    """

    def __init__(self, *without: Path | None) -> None:
        self._without = tuple(path for path in without if path is not None)
        self._entered: set[_Identity | None] = set()
        self._seen: set[tuple[_Identity | None, str]] = set()  # the folder of each, and its name
        self.others: Counter[str] = Counter()

    def find(self, paths: Sequence[Path]) -> Iterator[FoundFile]:
        """Find every file of paths, folders and patterns, in their order.

        Raises:
            BadSetting: a pattern matches nothing.
        """
        self.forget()
        for path in paths:
            yield from self.find_more(path)

    def forget(self) -> None:
        """Begin anew, as `find` does: nothing was entered or passed over."""
        self._entered = {_identity(path) for path in self._without} - {None}
        self._seen.clear()
        self.others.clear()

    def find_more(self, path: Path) -> Iterator[FoundFile]:
        """Find the files of one path more, but what was seen already; raises as `find`."""
        status = _status(path)
        if status and stat.S_ISDIR(status.st_mode):
            yield from self._of_folder(path)
        elif status is None and glob.has_magic(str(path)):
            yield from self._of_pattern(path)
        elif status is None or _identity(path) not in self._entered:
            self._is_new(path.parent, path.name)
            yield FoundFile(path)

    def _of_pattern(self, pattern: Path) -> Iterator[FoundFile]:
        matches = matches_of(pattern)
        if not matches:
            raise BadSetting(f"no file matches {shown(pattern)}")
        for match in matches:
            if match.is_dir():
                if "**" not in pattern.parts:  # which finds what is in it, too
                    yield from self._of_folder(match)
            elif _identity(match) not in self._entered and self._is_new(match.parent, match.name):
                yield FoundFile(match)

    def _is_new(self, folder: Path, name: str) -> bool:
        """Whether a file was not seen yet; by its place, since links may share what they hold."""
        entry = (_identity(folder), name)
        is_new = entry not in self._seen
        self._seen.add(entry)
        return is_new

    def _of_folder(self, folder: Path) -> Iterator[FoundFile]:
        barred: list[FoundFile] = []

        def note(error: OSError) -> None:
            reason = f"cannot be listed: {error.strerror}"
            barred.append(FoundFile(Path(str(error.filename)), reason))

        for place, folders, files in os.walk(folder, followlinks=True, onerror=note):
            here = Path(place)
            yield from barred
            barred.clear()
            if not self._enters(here):
                folders.clear()
                continue
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            yield from self._of_names(here, files)
        yield from barred

    def _enters(self, folder: Path) -> bool:
        identity = _identity(folder)
        if identity is None or identity in self._entered:
            return False
        self._entered.add(identity)
        return True

    def _of_names(self, folder: Path, names: Sequence[str]) -> Iterator[FoundFile]:
        for name in sorted(names):
            path = folder / name
            status = _status(path)
            leads_nowhere = status is None and path.is_symlink()
            if name.startswith(".") or not (leads_nowhere or _is_file(status)):
                continue
            if _identity(path) in self._entered or not self._is_new(folder, name):
                continue
            if is_picture_by_name(path):
                yield FoundFile(path)
            else:
                self.others[path.suffix.lower() or "without a suffix"] += 1

    def describe_others(self) -> str:
        """What was passed over, in a line."""
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in self.others.most_common(5))
        return f"passed over {self.others.total()} files that are no pictures by name: {kinds}"


def shown(path: Path) -> str:
    r"""A path as one line of text, no two alike.

    Bytes that are no UTF-8 are escaped as in `caf\xe9.jpg`, the backslash as `\\`, and what ends or
    turns a line around as `\x0a` and `\u2028`.
    """
    return os.fsencode(path).decode("utf-8", "surrogateescape").translate(_ESCAPES)


def read_picture(path: Path, limits: ImageLimits) -> bytes:
    """Read a file that may be a picture, and no more than one may be.

    Raises:
        UndecodableImage: it cannot be read.
        ImageTooLarge: it is larger than the limit.
    """
    limit = limits.encoded_bytes
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except (OSError, ValueError) as error:  # a name may hold a null
        reason = getattr(error, "strerror", None) or error
        raise UndecodableImage(f"cannot be read: {reason}") from error
    if len(content) > limit:
        raise ImageTooLarge(f"image is larger than {limit} bytes, which is the limit")
    return content


def is_picture_by_name(path: Path) -> bool:
    """Whether the suffix is one of a picture."""
    return path.suffix.lower() in PICTURE_SUFFIXES


def _is_file(status: os.stat_result | None) -> bool:
    return status is not None and stat.S_ISREG(status.st_mode)


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (OSError, ValueError):  # it is not there, or cannot be looked at
        return None


def _identity(path: Path) -> _Identity | None:
    status = _status(path)
    return None if status is None else (status.st_dev, status.st_ino)
