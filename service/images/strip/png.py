"""PNG: what is kept are the header, the palette, transparency and data."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress

from service.images.strip.orientation import orientation_of
from service.images.strip.stripped import MOST_PARTS, Stripped, too_many_parts

_KEPT = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_XMP = b"XML:com.adobe.xmp"
_EXIF_AS_TEXT = b"Raw profile type exif"  # as ImageMagick writes it: hexadecimal
_MOST_TEXT = 1_048_576  # bytes of a text, and of one that was compressed


def strip_png(data: bytes) -> Stripped:
    """Leave out every chunk that does not make pixels, the further frames of an animation, too."""
    kept = [data[:8]]
    exif = xmp = exif_as_text = b""
    width = 0
    for name, start, end in _chunks(data):
        if name in _KEPT:
            kept.append(data[start - 8 : end + 4])
            if name == b"IHDR":
                width = int.from_bytes(data[start : start + 4])
        elif name == b"eXIf":
            exif = data[start : min(end, start + _MOST_TEXT)]
        elif name in _TEXTS and data.startswith(_XMP, start):
            xmp = name + data[start : min(end, start + _MOST_TEXT)]
        elif name in _TEXTS and data.startswith(_EXIF_AS_TEXT, start):
            exif_as_text = name + data[start : min(end, start + _MOST_TEXT)]
    orientation = orientation_of(exif or _from_hex(_text(exif_as_text)), _text(xmp))
    two_rows = 2 * 8 * width  # of four channels of 16 bits
    return Stripped(b"".join(kept), orientation, two_rows)


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield each chunk's name, and where its content begins and ends; it may be cut short.

    Raises:
        ImageTooLarge: they are too many.
    """
    place = 8
    for _ in range(MOST_PARTS):
        if place + 8 > len(data):
            return
        length, name = struct.unpack_from(">I4s", data, place)
        yield name, place + 8, place + 8 + length
        place += 12 + length
        if name == b"IEND":
            return
    raise too_many_parts()


def _text(chunk: bytes) -> bytes:
    """The text of a chunk, as far as it is sound and not too long."""
    name = chunk[:4]
    _, _, text = chunk.partition(b"\0")
    is_compressed = name == b"zTXt" or (name == b"iTXt" and text[:1] == b"\1")
    if name == b"zTXt":
        text = text[1:]  # behind the method
    elif name == b"iTXt":
        *_, text = text[2:].split(b"\0", 2)  # behind the language and the translated keyword
    if not is_compressed:
        return text
    with suppress(zlib.error):
        return zlib.decompressobj().decompress(text, _MOST_TEXT)
    return b""


def _from_hex(text: bytes) -> bytes:
    """The bytes of a profile in hexadecimal: its name and length stand in lines before."""
    with suppress(ValueError):
        return bytes.fromhex("".join(text.decode("latin-1").split("\n")[3:]))
    return b""
