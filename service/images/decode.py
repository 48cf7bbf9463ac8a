"""An image's bytes -> an upright picture, no finer than the model will look at it.

A JPEG larger than the model needs is scaled where that costs least: while its DCT blocks are
decoded, by a half, a quarter or an eighth. `flatten.py` says what becomes of other kinds of
pictures than 8-bit RGB; an EXIF or XMP orientation, 1 to 8, is undone; of an animation or of many
pages the first one is taken. Damaged metadata (EXIF, XMP, ICC) counts as none.
"""

from __future__ import annotations

import ctypes
import logging
import math
import struct
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from PIL import Image, _imaging
from PIL.ImageFile import ImageFile

from service.errors import ImageTooLarge, UndecodableImage
from service.images.contract import ImageLimits, InputContract
from service.images.cost import picture_bytes
from service.images.flatten import flatten
from service.images.formats import Avif, format_of
from service.images.resize import scaled_size

# What Pillow raises on files that are broken by chance or on purpose, as fuzzing showed it.
_MALFORMED = (
    OSError,  # truncated, or refused by a codec
    SyntaxError,  # a header that makes no sense
    ValueError,  # a field out of its range
    OverflowError,  # a number too large for C, such as a palette entry
    TypeError,  # a TIFF tag of another type than its use needs
    LookupError,  # a chunk shorter than its fields
    EOFError,  # no first frame
    RuntimeError,  # what an AVIF's codec refuses
    AssertionError,  # what Pillow takes for granted of a file, such as a palette
    struct.error,  # metadata cut short
)

# A scaled JPEG keeps at least so many pixels for each one that the model sees, along either side:
# a camera's 12 megapixels then shrink to an eighth for 256 px, and photographs differ from whole
# decoding by about a level at most, on average (decisions/0004 has the price of more and less).
_FINENESS = 1.4


@dataclass(frozen=True, slots=True, eq=False)
class DecodedImage:
    """An upright picture, whole or scaled.

    Attributes:
        picture: mode L or RGB.
        box: left, top, right and bottom of what the file stores, in pixels of `picture`. A scaled
            picture may reach beyond it by less than a pixel, on the sides where its blocks do.
    """

    picture: Image.Image
    box: tuple[float, float, float, float]

    @classmethod
    def whole(cls, picture: Image.Image) -> Self:
        """A picture of mode L or RGB at its own size."""
        return cls(picture, (0, 0, picture.width, picture.height))


@dataclass(frozen=True, slots=True)
class _Turn:
    """How a stored picture is turned, and which of its sides become left, top, right, bottom."""

    method: Image.Transpose
    sides: tuple[int, int, int, int]


_TURNS = {
    2: _Turn(Image.Transpose.FLIP_LEFT_RIGHT, (2, 1, 0, 3)),
    3: _Turn(Image.Transpose.ROTATE_180, (2, 3, 0, 1)),
    4: _Turn(Image.Transpose.FLIP_TOP_BOTTOM, (0, 3, 2, 1)),
    5: _Turn(Image.Transpose.TRANSPOSE, (1, 0, 3, 2)),
    6: _Turn(Image.Transpose.ROTATE_270, (3, 0, 1, 2)),
    7: _Turn(Image.Transpose.TRANSVERSE, (3, 2, 1, 0)),
    8: _Turn(Image.Transpose.ROTATE_90, (1, 2, 3, 0)),
}


def silence_decoders() -> None:
    """Keep what decoders think of damaged files off standard error, for the whole process.

    Pillow warns of damaged metadata, of which clients send plenty, and logs some errors before it
    raises them. One filter for good is safe between threads, `warnings.catch_warnings` is not.
    libtiff writes between the log's lines, and Pillow has no call that stops it; libtiff's own are
    found through the module that links it.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    with suppress(OSError, AttributeError):
        libtiff = ctypes.CDLL(_imaging.__file__)
        libtiff.TIFFSetErrorHandler(None)
        libtiff.TIFFSetWarningHandler(None)


def decode(
    data: bytes,
    limits: ImageLimits,
    contract: InputContract | None = None,
    reserve: Callable[[int], None] = lambda _: None,
) -> DecodedImage:
    """Decode one image; its format is told by its content.

    Args:
        data: the file.
        limits: checked before anything is decoded.
        contract: of the model that will look at it; without one every pixel is decoded.
        reserve: is told how many bytes of memory decoding will take, before it takes them; it may
            wait, or raise.

    Raises:
        ImageTooLarge: more than the limits, as its file and its header tell.
        UnsupportedFormat: an image of a known format that is not accepted.
        UndecodableImage: not an image, or a damaged one.
    """
    check_file(data, limits)
    known = format_of(data)
    try:
        stripped = known.strip(data)
        image = known.open(stripped.content)
        _check_size(image.size, limits)
        turn = _TURNS.get(image.orientation if isinstance(image, Avif) else stripped.orientation)
        scaled = _scale(image, contract)
        cost_bytes = len(stripped.content) + stripped.decoder_bytes
        cost_bytes += picture_bytes(image, contract, is_turned=turn is not None)
        _check_cost(cost_bytes, limits)
        reserve(cost_bytes)
        if len(image.tile) == 1 and image.tile[0].codec_name == "raw":
            image.decodermaxblock = len(stripped.content)  # else a long row is put together slowly
        image.load()
        box = (0, 0, image.width, image.height) if scaled is None else scaled
        decoded = DecodedImage(flatten(_opaque(image)), box)
        return decoded if turn is None else _turned(decoded, turn)
    except Image.DecompressionBombError as error:
        raise ImageTooLarge(
            f"image has too many pixels, the limit is {limits.pixels / 1e6:g} megapixels"
        ) from error
    except _MALFORMED as error:
        raise UndecodableImage(f"image is damaged: {error}".removesuffix(": ")) from error


def check_file(data: bytes, limits: ImageLimits) -> None:
    """Compare a file's size with the limit.

    Raises:
        ImageTooLarge: it is larger.
    """
    if len(data) > limits.encoded_bytes:
        raise ImageTooLarge(
            f"image is {len(data)} bytes, the limit is {limits.encoded_bytes} bytes"
        )


def _check_size(size: tuple[int, int], limits: ImageLimits) -> None:
    width, height = size
    if width * height > limits.pixels:
        raise ImageTooLarge(
            f"image is {width} x {height} px, the limit is {limits.pixels / 1e6:g} megapixels"
        )


def _check_cost(cost_bytes: int, limits: ImageLimits) -> None:
    if cost_bytes > limits.decoded_bytes:
        raise ImageTooLarge(
            f"image takes {cost_bytes / 1e6:.0f} MB of memory to decode, "
            f"the limit is {limits.decoded_bytes / 1e6:g} MB"
        )


def _scale(
    image: ImageFile, contract: InputContract | None
) -> tuple[float, float, float, float] | None:
    """Have a JPEG decoded no finer than the model needs; returns `DecodedImage.box`, if so."""
    if contract is None:
        return None
    width, height = (math.ceil(_FINENESS * side) for side in scaled_size(*image.size, contract))
    scaled = image.draft(None, (width, height))
    return None if scaled is None else scaled[1]


def _opaque(image: ImageFile) -> Image.Image:
    """A BMP whose every pixel is transparent has no transparency: its fourth bytes are unused."""
    if image.format == "BMP" and image.mode == "RGBA" and image.getchannel("A").getbbox() is None:
        return image.convert("RGB")
    return image


def _turned(image: DecodedImage, turn: _Turn) -> DecodedImage:
    width, height = image.picture.size
    left, top, right, bottom = image.box
    beyond = (left, top, width - right, height - bottom)  # how far the picture exceeds the box
    left, top, right, bottom = (beyond[side] for side in turn.sides)
    picture = image.picture.transpose(turn.method)
    return DecodedImage(picture, (left, top, picture.width - right, picture.height - bottom))
