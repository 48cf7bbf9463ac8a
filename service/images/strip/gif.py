"""GIF: what is kept is the first picture with its palettes and its transparency."""

from __future__ import annotations

import re
from collections.abc import Iterator

from service.images.strip.stripped import MOST_PARTS, Stripped, too_many_parts

_BLOCK = re.compile(rb"[!,;]")  # what begins one; decoders pass over other bytes between them
_PICTURE = b","
_CONTROL = b"!\xf9"  # says how the picture is to be shown
_DISPOSAL = 0x1C  # what becomes of it then: a decoder would make a second picture for it


def strip_gif(data: bytes) -> Stripped:
    """Leave out all but the first picture, and end the file behind it."""
    begin = 13 + (_palette_bytes(data[10]) if len(data) > 10 else 0)
    kept = [data[:begin]]
    for place, end in _blocks(data, begin):
        if data[place : place + 1] == _PICTURE:
            kept.append(data[place:end])
        elif data.startswith(_CONTROL, place) and end - place > 7:
            kept += [data[place : place + 3], bytes([data[place + 3] & ~_DISPOSAL])]
            kept.append(data[place + 4 : end])
    return Stripped(b"".join(kept) + b";")


def _blocks(data: bytes, place: int) -> Iterator[tuple[int, int]]:
    """Yield where each extension, and the first picture, begins and ends.

    Raises:
        ImageTooLarge: they are too many.
    """
    for _ in range(MOST_PARTS):
        match = _BLOCK.search(data, place)
        if match is None or match[0] == b";":
            return
        begin = match.start()
        if match[0] == _PICTURE:
            flags = data[begin + 9] if begin + 9 < len(data) else 0
            yield begin, _sub_blocks_end(data, begin + 11 + _palette_bytes(flags))
            return
        place = _sub_blocks_end(data, begin + 2)
        yield begin, place
    raise too_many_parts()


def _palette_bytes(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _sub_blocks_end(data: bytes, place: int) -> int:
    """Where a chain of blocks of up to 255 bytes ends.

    Raises:
        ImageTooLarge: they are too many, and small.
    """
    for _ in range(MOST_PARTS + len(data) // 128):
        if place >= len(data) or not data[place]:
            return min(len(data), place + 1)
        place += 1 + data[place]
    raise too_many_parts()
