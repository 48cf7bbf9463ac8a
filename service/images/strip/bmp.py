"""BMP: it has nothing beside its pixels, but one kind is slow to read."""

from __future__ import annotations

import struct

from service.errors import ImageTooLarge
from service.images.strip.stripped import Stripped

MOST_RUNS = 3_000_000  # pixels, and twice the bytes, of a file whose runs Pillow reads one by one

_RUNS = frozenset({1, 2})  # compressions


def strip_bmp(data: bytes) -> Stripped:
    """Keep all of it.

    Raises:
        ImageTooLarge: it is in runs, and large.
    """
    if len(data) < 34 or data[14] < 40:  # of OS/2, at most 65,535 px wide
        return Stripped(data, decoder_bytes=4 * 65_535)
    width, height, _, _, compression = struct.unpack_from("<IiHHI", data, 18)
    if compression in _RUNS and width * abs(height) + 2 * len(data) > MOST_RUNS:
        raise ImageTooLarge(
            f"image is a BMP in runs of {width} x {abs(height)} px and {len(data)} bytes, the "
            f"limit is {MOST_RUNS} for pixels and twice the bytes together"
        )
    return Stripped(data, decoder_bytes=4 * width)
