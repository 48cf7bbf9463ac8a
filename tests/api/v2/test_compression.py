"""Compressed bodies: up to the limit, and to the last byte."""

from __future__ import annotations

import gzip
import zlib
from typing import Any

import pytest

from service.api.v2.compression import inflate
from service.errors import BadRequest, BodyTooLarge


@pytest.mark.parametrize(
    ("encoding", "compress"), [("gzip", gzip.compress), ("Deflate", zlib.compress)]
)
def test_bodies_may_be_compressed(encoding: str, compress: Any) -> None:
    """Up to the limit, and to the last byte."""
    packed = compress(b"x" * 1000)

    assert inflate(packed, encoding, 1000) == b"x" * 1000
    with pytest.raises(BodyTooLarge, match="inflates to more than 999 bytes"):
        inflate(packed, encoding, 999)
    for damaged in (packed[:-1], packed + b"x", b"x", b""):
        with pytest.raises(BadRequest, match=r"^the body is not "):
            inflate(damaged, encoding, 1000)


def test_other_encodings_are_refused() -> None:
    """By name."""
    with pytest.raises(BadRequest, match=r"^content encoding 'br' is not accepted"):
        inflate(b"", "br", 1000)
