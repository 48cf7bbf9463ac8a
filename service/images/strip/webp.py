"""WebP: what is kept are the chunks that make the picture, of an animation those of its first."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from service.images.strip.orientation import orientation_of
from service.images.strip.stripped import MOST_PARTS, Stripped, too_many_parts

_OTHERS = 0x20 | 0x08 | 0x04  # flags of a profile, EXIF and XMP
_KEPT = frozenset({b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF"})
_DECODER = 12  # bytes of a pixel: the canvas, the one before, and a copy that is handed over


def strip_webp(data: bytes) -> Stripped:
    """Leave out every other chunk, and say in the header that there are none."""
    kept: list[bytes] = []
    exif = xmp = b""
    has_frame = False
    for name, start, end in _chunks(data):
        content = data[start:end]
        if name in _KEPT and not (name == b"ANMF" and has_frame):
            has_frame |= name == b"ANMF"
            if name == b"VP8X" and content:
                content = bytes([content[0] & ~_OTHERS]) + content[1:]
            kept += [data[start - 8 : start], content, bytes((end - start) % 2)]
        elif name == b"EXIF":
            exif = exif or content
        elif name == b"XMP ":
            xmp = xmp or content
    chunks = b"".join(kept)
    content = b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks
    width, height = webp_size(content)
    return Stripped(content, orientation_of(exif, xmp), _DECODER * width * height)


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield each chunk's name, and where its content begins and ends; it may be cut short.

    Raises:
        ImageTooLarge: they are too many.
    """
    place = 12
    for _ in range(MOST_PARTS):
        if place + 8 > len(data):
            return
        name, length = struct.unpack_from("<4sI", data, place)
        yield name, place + 8, min(len(data), place + 8 + length)
        place += 8 + length + length % 2
    raise too_many_parts()


def webp_size(content: bytes) -> tuple[int, int]:
    """Width and height, as the first chunk tells them; 0 where it does not."""
    head = content[12:30].ljust(18, b"\0")
    name, bits = head[:4], int.from_bytes(head[9:13], "little")
    if name == b"VP8X":
        return 1 + int.from_bytes(head[12:15], "little"), 1 + int.from_bytes(head[15:], "little")
    if name == b"VP8L":
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if name == b"VP8 ":
        width, height = struct.unpack_from("<HH", head, 14)
        return width & 0x3FFF, height & 0x3FFF
    return 0, 0
