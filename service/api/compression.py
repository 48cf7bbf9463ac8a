"""Content codings of request bodies."""

from __future__ import annotations

import reprlib
import zlib
from collections.abc import Iterator, Sequence

from service.errors import BadRequest, UnsupportedEncoding

CODINGS = ("gzip", "deflate")  # and `x-gzip`, an old name
STEP_BYTES = 16_384  # of what came, at a time
CHUNK_BYTES = 1_000_000  # of what it holds, at a time
MOST_MEMBERS = 10_000  # of a gzip file; those of parallel writers hold 64 kB and more each

_EITHER = 32 + zlib.MAX_WBITS  # gzip or zlib, which zlib itself tells from each other
_RAW = -zlib.MAX_WBITS
_GZIP_BEGINS = b"\x1f\x8b"


def read_coding(headers: Sequence[str]) -> str | None:
    """Which coding a body came in, by its `Content-Encoding`.

    Returns:
        One of `CODINGS`; None where the body is as it is.

    Raises:
        UnsupportedEncoding: another coding, or several upon each other.
    """
    given = [name.strip().lower() for name in ",".join(headers).split(",")]
    codings = [name.removeprefix("x-") for name in given if name not in ("", "identity")]
    if not codings:
        return None
    if len(codings) > 1 or codings[0] not in CODINGS:
        raise UnsupportedEncoding(
            f"content encoding {reprlib.repr(', '.join(given))} is not accepted, send one of "
            f"{', '.join(CODINGS)}, or none"
        )
    return codings[0]


def inflate(body: bytes, coding: str) -> Iterator[bytes]:
    """Undo a coding, in chunks of at most `CHUNK_BYTES`.

    Raises:
        BadRequest: the body is damaged, or has more members than any writer makes.
    """
    at = 0
    for _ in range(MOST_MEMBERS):
        stream = zlib.decompressobj(_window(coding, body[at : at + 2]))
        while not stream.eof:
            step = body[at : at + STEP_BYTES]
            try:
                chunk = stream.decompress(step, CHUNK_BYTES)
            except zlib.error as error:
                raise BadRequest(f"the body is not {coding} ({error})") from error
            at += len(step) - len(stream.unconsumed_tail) - len(stream.unused_data)
            if chunk:
                yield chunk
            elif not step:
                raise BadRequest(f"the body is not one whole {coding} stream")
        if at == len(body):
            return
        if coding != "gzip":
            raise BadRequest(f"the body is not one whole {coding} stream")
    raise BadRequest(f"the body is not gzip of at most {MOST_MEMBERS} members")


def _window(coding: str, begins: bytes) -> int:
    """The format for zlib: some clients send as `deflate` what has no head at all."""
    is_zlib = len(begins) == 2 and begins[0] & 15 == 8 and int.from_bytes(begins, "big") % 31 == 0
    return _EITHER if coding == "gzip" or is_zlib or begins == _GZIP_BEGINS else _RAW
