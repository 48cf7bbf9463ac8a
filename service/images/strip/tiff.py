"""TIFF: what is kept are the tags of its first page that say how its pixels are stored."""

from __future__ import annotations

import struct

from service.errors import ImageTooLarge, UndecodableImage
from service.images.strip.orientation import orientation_by
from service.images.strip.stripped import MOST_PARTS, Stripped, too_many_parts
from service.images.strip.tiff_tags import Directory, read_directory

MOST_TILE_PIXELS = 4096 * 4096  # of a tile that is more than twice as large as the picture

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _COLOURS = 256, 257, 258, 259, 262
_STRIPS, _SAMPLES, _ROWS_PER_STRIP = 273, 277, 278
_TILE_WIDTH, _TILE_HEIGHT, _TILES = 322, 323, 324
_XMP, _WINDOWS_PHOTO = 700, 0xBC01
_KEPT = frozenset(
    {
        *(_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _COLOURS),
        266,  # order of bits
        *(_STRIPS, 279, _ROWS_PER_STRIP),
        *(_TILE_WIDTH, _TILE_HEIGHT, _TILES, 325),
        *(_SAMPLES, 284, 338, 339),  # samples: how many, how arranged, what the others are, format
        *(292, 293),  # of fax
        *(317, 320, 332),  # predictor, palette, inks
        *(347, *range(512, 522)),  # tables and tags of JPEG
        *(529, 530, 531, 532),  # luminance and chrominance
        50674,  # parameters of LERC
        _WINDOWS_PHOTO,  # by which Pillow refuses it
    }
)
_YCBCR, _LZMA = 6, 34_925
_LZMA_STATE = 10_000_000  # bytes
_A_STRIP = 400  # bytes of what Pillow notes of it


def strip_tiff(data: bytes) -> Stripped:
    """Put a directory of the first page's essential tags in place of all directories.

    Raises:
        ImageTooLarge: its strips or tiles are too many, or too large; or it has too many tags.
        UndecodableImage: it has no directory.
    """
    page = read_directory(data)
    if page is None:
        raise UndecodableImage("image is damaged: it is a TIFF without a directory")
    kept = [tag for number, tag in page.tags.items() if number in _KEPT]
    if any(tag.count > MOST_PARTS for tag in kept):
        raise too_many_parts()
    content = _with_directory(page, b"".join(tag.entry for tag in kept), len(kept))
    orientation = orientation_by(page, page.content(_XMP))
    return Stripped(content, orientation, _decoder_bytes(page))


def _with_directory(page: Directory, entries: bytes, count: int) -> bytes:
    """The file with another directory, behind all else, as its only one."""
    data, place = page.data, len(page.data) + len(page.data) % 2
    number, head, size = ("Q", 8, 16) if page.is_big else ("I", 4, 8)
    count_form = "Q" if page.is_big else "H"
    return b"".join(
        (
            data[:head],
            struct.pack(page.order + number, place),
            data[size:].ljust(place - size, b"\0"),
            struct.pack(page.order + count_form, count),
            entries,
            bytes(head),  # no further page
        )
    )


def _decoder_bytes(page: Directory) -> int:
    """A strip or a tile, which may be larger than the picture, and what is noted of each.

    Raises:
        ImageTooLarge: a tile is larger than the picture, and than any that encoders make.
    """
    (width,) = page.numbers(_WIDTH, 0)
    (height,) = page.numbers(_HEIGHT, 0)
    (samples,) = page.numbers(_SAMPLES, 1)
    pixel_bits = max(page.numbers(_BITS, 1, most=8)) * samples
    if _YCBCR in page.numbers(_COLOURS, 0):
        pixel_bits += 32  # it comes as RGBA
    across, down = width, min(height, *page.numbers(_ROWS_PER_STRIP, height))
    if _TILE_WIDTH in page.tags or _TILE_HEIGHT in page.tags:
        (across,) = page.numbers(_TILE_WIDTH, width)
        (down,) = page.numbers(_TILE_HEIGHT, height)
        if across * down > max(MOST_TILE_PIXELS, 2 * width * height):
            raise ImageTooLarge(f"image is {width} x {height} px in tiles of {across} x {down} px")
    strips = sum(page.tags[place].count for place in (_STRIPS, _TILES) if place in page.tags)
    beside = _A_STRIP * strips + (_LZMA_STATE if _LZMA in page.numbers(_COMPRESSION, 1) else 0)
    return max(0, across * down * pixel_bits // 8) + beside
