"""An image's bytes -> (H, W, 3) uint8 RGB, whatever the picture's kind.

| picture | becomes |
|---|---|
| EXIF or XMP orientation, 1 to 8 | turned upright |
| transparent: alpha, transparent palette entry or colour | flattened on white |
| CMYK and YCCK, Adobe's inverted ones too | RGB by ink subtraction, without a colour profile |
| LAB | sRGB, from the D50 white point |
| 16-bit grey | value / 257, rounded; other 16-bit pictures keep their high byte |
| float, 32-bit and signed 16-bit grey | its finite values from smallest to largest: 0 to 255 |
| animated or of many pages | the first frame or page |

An embedded colour profile is ignored. Damaged metadata (EXIF, XMP, ICC) counts as none.
"""

from __future__ import annotations

import struct
import warnings
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from service.errors import ImageTooLarge, UndecodableImage
from service.image_formats import reader_of

# Pillow warns of damaged metadata, of which clients send plenty. One filter for good is safe
# between threads, `warnings.catch_warnings` is not.
warnings.filterwarnings("ignore", module=r"PIL\.")

# What Pillow raises on files that are broken by chance or on purpose, as fuzzing showed it.
_MALFORMED = (
    OSError,  # truncated, or refused by a codec
    SyntaxError,  # a header that makes no sense
    ValueError,  # a field out of its range
    OverflowError,  # a number too large for C, such as a palette entry
    TypeError,  # a TIFF tag of another type than its use needs
    LookupError,  # a chunk shorter than its fields
    EOFError,  # no first frame
    AssertionError,  # what Pillow takes for granted of a file, such as a palette
    struct.error,  # metadata cut short
)


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """The largest image to decode: in encoded bytes, and in pixels, width times height."""

    encoded_bytes: int
    pixels: int


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(data: bytes, limits: ImageLimits) -> NDArray[np.uint8]:
    """Decode one image; its format is told by its content.

    Returns:
        (H, W, 3) uint8, RGB, C-contiguous, read-only, upright; at least 1 x 1.

    Raises:
        ImageTooLarge: more bytes or pixels than the limits; pixels are read off the header.
        UnsupportedFormat: an image of a known format that is not accepted.
        UndecodableImage: not an image, or a damaged one.
    """
    if len(data) > limits.encoded_bytes:
        raise ImageTooLarge(
            f"image is {len(data)} bytes, the limit is {limits.encoded_bytes} bytes"
        )
    reader = reader_of(data)
    try:
        image = reader(BytesIO(data))
        _check_size(image.size, limits)
        image.load()
        return np.asarray(_flatten(_turn_upright(image)), dtype=np.uint8)
    except Image.DecompressionBombError as error:
        raise ImageTooLarge(
            f"image has too many pixels, the limit is {limits.pixels / 1e6:g} megapixels"
        ) from error
    except _MALFORMED as error:
        raise UndecodableImage(f"image is damaged: {error}".removesuffix(": ")) from error


def _check_size(size: tuple[int, int], limits: ImageLimits) -> None:
    width, height = size
    if width * height > limits.pixels:
        raise ImageTooLarge(
            f"image is {width} x {height} px, the limit is {limits.pixels / 1e6:g} megapixels"
        )


def _turn_upright(image: Image.Image) -> Image.Image:
    turn = _TURNS.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def _orientation(image: Image.Image) -> Any:
    """The orientation that the metadata claim, of any type; 1 where they are damaged."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except _MALFORMED:
        return 1


def _flatten(image: Image.Image) -> Image.Image:
    """Bring any mode to RGB, what is transparent to white."""
    if image.mode.startswith("I;16"):
        return _from_16_bit(image)
    if image.mode in ("I", "F"):
        return _from_unbounded(image)
    if image.mode == "La":  # premultiplied; RGB's counterpart is undone while it is read
        image = image.convert("LA")
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    canvas = Image.new("RGB", image.size, "white")
    canvas.paste(rgba, mask=rgba)
    return canvas


def _from_16_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    grey = ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if "transparency" in image.info:
        grey[values == image.info["transparency"]] = 255
    return Image.fromarray(grey).convert("RGB")


def _from_unbounded(image: Image.Image) -> Image.Image:
    """Spread the finite values; NaN and minus infinity become black, infinity becomes white."""
    values = np.array(image, dtype=np.float64)  # float32's range overflows float32
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    np.nan_to_num(values, copy=False, nan=low, posinf=high, neginf=low)
    values -= low
    values *= 255 / ((high - low) or 1.0)
    return Image.fromarray(np.rint(values, out=values).astype(np.uint8)).convert("RGB")
