"""What reading and writing a model version share: files, hashes, labels, reasons."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from service.errors import BadManifest, MissingFile

WEIGHTS_FILE = "model.safetensors"
LABELS_FILE = "labels.txt"
MANIFEST_FILE = "manifest.json"
MANIFEST_BYTES = 1 << 20
LABELS_BYTES = 16 << 20

MOST_FAULTS = 10  # of one manifest that are named


def read_file(path: Path) -> bytes:
    """Read a whole file.

    Raises:
        MissingFile: it is not there or cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise MissingFile(f"{path} cannot be read: {describe_os_error(error)}") from error


def folders_in(folder: Path) -> list[Path]:
    """The visible folders in a folder, by name.

    Raises:
        MissingFile: it is not there or cannot be listed.
    """
    try:
        folders = sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError as error:
        raise MissingFile(f"{folder} cannot be listed: {describe_os_error(error)}") from error
    return [path for path in folders if not path.name.startswith(".")]


def read_bounded(path: Path, limit_bytes: int) -> bytes:
    """Read a whole file of a version, and wait for nothing that lies in its place.

    Raises:
        MissingFile: it is not there, cannot be read, is a pipe or a device, or grows just now.
        BadManifest: it has more bytes than such a file may have.
    """
    try:
        with _open_at_once(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > limit_bytes:
                raise BadManifest(f"{path.name} has {size} bytes, at most {limit_bytes} are read")
            content = file.read(size + 1)
    except OSError as error:
        raise MissingFile(
            f"{printable(path)} cannot be read: {describe_os_error(error)}"
        ) from error
    if len(content) != size:
        raise MissingFile(f"{printable(path)} changes while it is read")
    return content


def _open_at_once(path: Path) -> BinaryIO:
    _require_regular(path, path.stat())  # first: opening a device may do something
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    try:
        _require_regular(path, os.fstat(file.fileno()))
    except MissingFile:
        file.close()
        raise
    return file


def _require_regular(path: Path, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(status.st_mode):
        raise MissingFile(f"{printable(path)} is a pipe or a device, and no file")


def printable(path: Path) -> str:
    """A path as text that can be sent: names of files may hold what is none."""
    return str(path).encode(errors="backslashreplace").decode()


def no_such_version(store: Path) -> MissingFile:
    """Why a version is not served that is named and is not in the store."""
    return MissingFile(f"no such version in {printable(store)}")


def nothing_to_serve(store: Path) -> MissingFile:
    """Why a store is refused of which no model can be served."""
    return MissingFile(f"no model in {store} can be served")


def sha256_of(content: bytes) -> str:
    """The hash that a manifest holds, in lower-case hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def decode_labels(content: bytes) -> tuple[str, ...]:
    """Read labels, one a line, UTF-8.

    Raises:
        BadManifest: the text is not UTF-8.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadManifest(f"the labels are not utf-8 text: {error.reason}") from error
    lines = text.removesuffix("\n").split("\n")
    return tuple(line.removesuffix("\r") for line in lines)


def encode_labels(labels: tuple[str, ...]) -> bytes:
    """The inverse of `decode_labels`."""
    return "".join(f"{label}\n" for label in labels).encode()


def check_labels(labels: tuple[str, ...], classes: int) -> None:
    """Refuse labels that cannot name the classes.

    Raises:
        BadManifest: there are too many or too few, or one is blank, more than a line, or no text
            that UTF-8 can hold.
    """
    if len(labels) != classes:
        raise BadManifest(f"{len(labels)} labels for {classes} classes")
    for number, label in enumerate(labels, 1):
        if not label.strip() or "\n" in label or "\r" in label:
            raise BadManifest(f"label {number} is {label!r}, it must be one line that is not blank")
        if any("\ud800" <= letter <= "\udfff" for letter in label):
            raise BadManifest(f"label {number} is {label!r}, it must be text of whole letters")


def describe_os_error(error: OSError) -> str:
    """Say why a file or folder could not be used, without its path."""
    return (error.strerror or type(error).__name__).lower()


def describe_invalid_manifest(error: ValidationError) -> str:
    """Say in one line which fields are wrong, and what they were where that is short.

    Of very many the first are named.
    """
    parts = []
    faults = error.errors(include_url=False)
    for detail in faults[:MOST_FAULTS]:
        field = ".".join(f"{step!s:.80}" for step in detail["loc"])
        is_short = isinstance(detail["input"], str | int | float)
        seen = f" {detail['input']!r:.80}" if is_short else ""
        reason = detail["msg"].removeprefix("Value error, ")
        parts.append(f"{field}{seen}: {reason[0].lower()}{reason[1:]}".removeprefix(": "))
    if len(faults) > MOST_FAULTS:
        parts.append(f"and {len(faults) - MOST_FAULTS} more")
    return f"invalid manifest: {'; '.join(parts)}"
