"""Base64 as clients send it: broken into lines, as a data URL, in either alphabet, not padded."""

from __future__ import annotations

import binascii
import io
import re
from collections.abc import Iterable, Iterator

_DATA_URL = re.compile(rb"data:[\w.+/;= -]{0,200}?;base64,", re.IGNORECASE)
_STANDARD = bytes.maketrans(b"-_", b"+/")
_BREAKS = b" \t\r\n"


def decode_base64(steps: Iterable[bytes]) -> bytes:
    """Decode a text that comes in steps, each small enough to hold the GIL for.

    Raises:
        ValueError: it is not base64.
    """
    whole = io.BytesIO()  # which gives its bytes without a copy
    for chunk in _decoded(steps):
        whole.write(chunk)
    return whole.getvalue()


def _decoded(steps: Iterable[bytes]) -> Iterator[bytes]:
    rest, padding = b"", b""
    for number, step in enumerate(steps):
        text = step if number else _behind_data_url(step)
        symbols, equals, after = text.translate(_STANDARD, _BREAKS).partition(b"=")
        if padding and symbols:
            raise ValueError("padding is followed by more")
        padding += equals + after
        if len(padding) > 2 or padding.strip(b"="):
            raise ValueError("padding is followed by more")
        symbols = rest + symbols
        whole = len(symbols) - len(symbols) % 4
        rest = symbols[whole:]
        yield binascii.a2b_base64(symbols[:whole], strict_mode=True)
    if len(rest) == 1:
        raise ValueError("a character is missing")
    if rest:
        yield binascii.a2b_base64(rest.ljust(4, b"="), strict_mode=True)


def _behind_data_url(step: bytes) -> bytes:
    """What follows the head of a data URL, where a text begins with one."""
    text = step.lstrip(_BREAKS)
    head = _DATA_URL.match(text)
    return text[head.end() :] if head else text
