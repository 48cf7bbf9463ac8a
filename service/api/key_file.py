"""The file of API keys: a name and a digest a line. Knows no request, and imports little.

# who may use the service
shop sha256:(64 digits, of which `sge-serve key new shop` makes the key)
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

from service.errors import BadSetting

MOST_KEYS = 1000  # each is compared at each request, some 0.2 us
LARGEST_BYTES = 256 * MOST_KEYS
KEY_BYTES = 32
PREFIX = "sge_"  # by which those who search texts for secrets know one
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
LINE = re.compile(rf"(?P<name>{NAME.pattern})\s+sha256:(?P<digest>[0-9a-f]{{64}})")

Digests = Mapping[str, bytes]
"""The SHA-256 of each key, by the key's name."""


def new_key() -> str:
    """Make a key of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(KEY_BYTES)


def digest_of(key: bytes) -> bytes:
    """What is kept of a key.

    One SHA-256 is enough, without salt: slow hashes and salts defend what can be guessed, and of
    256 random bits nobody tries a noticeable part, whatever a try costs.
    """
    return hashlib.sha256(key).digest()


def read_keys(path: Path) -> Digests:
    """Read a file of keys; one that holds a comment alone lets nobody in.

    An empty one is none: it is what others see of a file that is about to be written.

    Raises:
        BadSetting: it cannot be read, or is none.
    """
    if path.exists() and not path.is_file():  # to open a pipe would wait for its other end
        raise BadSetting(f"{path} is not a file")
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise _cannot(path, "read", error) from error
    if not content:
        raise BadSetting(f"{path} is empty; a comment alone stands for no key")
    return _parse(path, content)


def add_key(path: Path, name: str) -> str:
    """Add a new key to a file, which is made where there is none, and return it.

    The line is there as a whole or not at all. Whoever else adds one waits until this one stands; a
    service that reads meanwhile finds the file with the line or without.

    Raises:
        BadSetting: the name cannot be one or is taken, or the file is none or cannot be written.
    """
    if not NAME.fullmatch(name):
        raise BadSetting(
            f"{name!r} is no name of a key: 1 to 64 letters, digits, dots, dashes and underscores"
        )
    key = new_key()
    try:
        with _locked(path) as descriptor:
            _append(path, descriptor, name, digest_of(key.encode()))
    except OSError as error:
        raise _cannot(path, "written", error) from error
    return key


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _append(path: Path, descriptor: int, name: str, digest: bytes) -> None:
    before = os.pread(descriptor, LARGEST_BYTES + 1, 0)
    keys = _parse(path, before)
    if name in keys:
        raise BadSetting(f"{path} has a key called {name!r} already")
    start = b"" if before.endswith(b"\n") or not before else b"\n"
    line = start + f"{name} sha256:{digest.hex()}\n".encode()
    try:
        _parse(path, before + line)
        _write_whole(descriptor, line)
    except (OSError, BadSetting):
        os.ftruncate(descriptor, len(before))
        raise


def _write_whole(descriptor: int, line: bytes) -> None:
    if os.write(descriptor, line) < len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.fsync(descriptor)


def _parse(path: Path, content: bytes) -> Digests:
    if len(content) > LARGEST_BYTES:
        raise BadSetting(f"{path} has more than {LARGEST_BYTES} bytes, which is the limit")
    digests: dict[str, bytes] = {}
    for number, line in enumerate(content.decode("ascii", "replace").splitlines(), 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        found = LINE.fullmatch(text)
        if not found:  # what stands there is not told: it may be a key
            raise BadSetting(f"{path} line {number} is not of the form NAME sha256:HEX")
        if found["name"] in digests:
            raise BadSetting(f"{path} line {number} names a key that is there already")
        digests[found["name"]] = bytes.fromhex(found["digest"])
    if len(digests) > MOST_KEYS:
        raise BadSetting(f"{path} has {len(digests)} keys, the limit is {MOST_KEYS}")
    return digests


def _cannot(path: Path, done: str, error: OSError) -> BadSetting:
    return BadSetting(f"{path} cannot be {done}: {(error.strerror or str(error)).lower()}")
