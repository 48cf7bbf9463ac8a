"""Compressed bodies: to the last byte, in every form that clients send."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import pytest

from service.api.compression import CHUNK_BYTES, MOST_MEMBERS, inflate, read_coding
from service.errors import BadRequest, UnsupportedEncoding

TEXT = bytes(range(256)) * 4 + b"x" * 3 * CHUNK_BYTES


def raw_deflate(content: bytes) -> bytes:
    """Deflate without zlib's head, which some clients send."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


def two_members(content: bytes) -> bytes:
    """A gzip file in two parts, as parallel compressors write it."""
    return gzip.compress(content[:1000]) + gzip.compress(content[1000:])


@pytest.mark.parametrize(
    ("coding", "compress"),
    [
        ("gzip", gzip.compress),
        ("gzip", two_members),
        ("deflate", zlib.compress),
        ("deflate", raw_deflate),
        ("deflate", gzip.compress),
    ],
)
def test_bodies_may_be_compressed(coding: str, compress: Callable[[bytes], bytes]) -> None:
    """They come back in chunks of a bounded size; what is cut off or goes on is refused."""
    packed = compress(TEXT)

    chunks = list(inflate(packed, coding))

    assert b"".join(chunks) == TEXT
    assert max(map(len, chunks)) <= CHUNK_BYTES
    for damaged in (packed[:-1], packed + b"x", b"x", b""):
        with pytest.raises(BadRequest, match=r"^the body is not "):
            list(inflate(damaged, coding))


def test_members_without_end_are_refused() -> None:
    """Nothing comes out of them, so the limit on bytes would never stop them."""
    with pytest.raises(BadRequest, match=f"at most {MOST_MEMBERS} members"):
        list(inflate(gzip.compress(b"") * (MOST_MEMBERS + 1), "gzip"))


@pytest.mark.parametrize(
    ("headers", "coding"),
    [
        ([], None),
        ([""], None),
        (["identity"], None),
        (["GZIP"], "gzip"),
        (["x-gzip"], "gzip"),
        (["identity, deflate"], "deflate"),
        (["identity", "gzip"], "gzip"),
    ],
)
def test_a_coding_has_several_names(headers: list[str], coding: str | None) -> None:
    """Upper case, the old name and the coding that does nothing are understood."""
    assert read_coding(headers) == coding


@pytest.mark.parametrize("headers", [["br"], ["gzip, gzip"], ["gzip", "deflate"], ["x" * 10**5]])
def test_other_codings_are_refused(headers: list[str]) -> None:
    """By name, with those that are accepted; several upon each other are among them."""
    with pytest.raises(UnsupportedEncoding, match=r"^content encoding '.*gzip, deflate") as refusal:
        read_coding(headers)

    assert len(refusal.value.message) < 200
