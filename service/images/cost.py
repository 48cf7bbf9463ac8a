"""What decoding an image will take, told from its header before any of it is spent."""

from __future__ import annotations

from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

_STORED = {"1": 1, "L": 1, "P": 1}  # bytes of a pixel in Pillow's memory; 2 of I;16, else 4
_DECODERS = {  # bytes of a pixel that a decoder holds beside the picture
    "WEBP": 12,  # its canvas, the frame before and a copy that it hands over
    "GIF": 4,
}
_PROGRESSIVE = 6  # coefficients of 16 bits of three channels
_BASE = 65_536  # of an image without pixels

_TILE_WIDTH, _TILE_HEIGHT = 322, 323
_ROWS_PER_STRIP = 278
_SAMPLES, _BITS = 277, 258


def decoded_bytes(image: ImageFile, *, is_turned: bool) -> int:
    """How much memory it takes to decode an opened image, to flatten and to turn it, at most.

    Args:
        image: opened, and scaled down where it will be; nothing of it is decoded yet.
        is_turned: whether it does not lie as it is to be seen.
    """
    a_pixel = _stored(image.mode) + _flattened(image) + _DECODERS.get(image.format or "", 0)
    if image.info.get("progressive"):
        a_pixel += _PROGRESSIVE
    if is_turned:
        a_pixel += 4
    buffer = _tile_bytes(image) if isinstance(image, TiffImageFile) else 0
    return _BASE + image.width * image.height * a_pixel + buffer


def _stored(mode: str) -> int:
    return 2 if mode.startswith("I;16") else _STORED.get(mode, 4)


def _flattened(image: Image.Image) -> int:
    """Bytes of a pixel that `flatten` adds."""
    if image.mode.startswith("I;16") or image.mode in ("1", "I", "F"):
        return 1
    if image.has_transparency_data:
        return 4 if image.mode == "RGBA" else 8
    return 0 if image.mode in ("L", "RGB") else 4


def _tile_bytes(image: TiffImageFile) -> int:
    """The buffer that libtiff needs: a strip, or a tile, which may be larger than the image."""
    tags = image.tag_v2
    bits = max(_numbers(tags.get(_BITS), 8))
    bytes_a_pixel = max(1, bits * max(_numbers(tags.get(_SAMPLES), 1)) // 8)
    if _TILE_WIDTH in tags or _TILE_HEIGHT in tags:
        width = max(_numbers(tags.get(_TILE_WIDTH), image.width))
        height = max(_numbers(tags.get(_TILE_HEIGHT), image.height))
    else:
        width = image.width
        height = min(image.height, max(_numbers(tags.get(_ROWS_PER_STRIP), image.height)))
    return width * height * bytes_a_pixel


def _numbers(value: object, otherwise: int) -> tuple[int, ...]:
    """A tag's values, which a damaged file may hold in any form."""
    values = value if isinstance(value, tuple) else (value,)
    return tuple(v for v in values if isinstance(v, int)) or (otherwise,)
