"""Arrays -> PNG pictures: greyscale ones, heat maps over an image, the image itself.

N: pictures, h and w: height and width of a plane, H and W: of the image.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Black, purple, red, orange, pale yellow: each lighter than the one before, so that the order can
# be seen without colour vision as well.
_ANCHORS = ((0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164))
_OPACITY = 0.7  # of the greatest heat; the image stays recognisable under it
_FLAT = 1e-6  # a smaller range is float32's rounding, not a pattern
_COMPRESSION = 1  # zlib's quickest: a reply may hold a thousand of these pictures


def draw_grey(levels: NDArray[np.float32]) -> Iterator[bytes]:
    """Draw greyscale pictures.

    Args:
        levels: (N, h, w) float32, black is 0 and white is 1; what lies outside is clipped.

    Returns:
        N PNG files, w x h px, 8 bit.
    """
    for plane in _to_bytes(levels):
        yield _encode(Image.fromarray(plane))


def draw_overlays(planes: NDArray[np.float32], pixels: NDArray[np.uint8]) -> Iterator[bytes]:
    """Draw each plane as heat over the same image, on a scale of its own.

    A plane's own smallest number is no heat, its largest is the greatest; a plane of one number
    has none.

    Args:
        planes: (N, h, w) float32.
        pixels: (3, H, W) uint8, RGB.

    Returns:
        N PNG files, as `draw_heat` makes them.
    """
    return draw_heat(_stretch(planes), pixels)


def draw_heat(levels: NDArray[np.float32], pixels: NDArray[np.uint8]) -> Iterator[bytes]:
    """Draw heat over an image.

    Without heat the image shows as it is; with more of it, a colour from black over purple, red
    and orange to pale yellow covers it more, by up to 70 %.

    Args:
        levels: (N, h, w) float32, 0 is no heat and 1 the greatest; what lies outside is clipped.
            Scaled bicubically to the image.
        pixels: (3, H, W) uint8, RGB.

    Returns:
        N PNG files, W x H px, RGB.
    """
    picture = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    for plane in _to_bytes(levels):
        heat = Image.fromarray(plane).resize(picture.size, Image.Resampling.BICUBIC)
        opacity = heat.point(_OPACITIES)
        heat.putpalette(_RAMP)
        yield _encode(Image.composite(heat.convert("RGB"), picture, opacity))


def _stretch(planes: NDArray[np.float32]) -> NDArray[np.float32]:
    low = planes.min(axis=(1, 2), keepdims=True)  # (N, 1, 1)
    span = planes.max(axis=(1, 2), keepdims=True) - low
    return np.where(span > _FLAT, (planes - low) / np.maximum(span, _FLAT), 0)


def _to_bytes(levels: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.rint(np.clip(levels, 0, 1) * 255).astype(np.uint8)


def draw_image(pixels: NDArray[np.uint8]) -> bytes:
    """Draw pixels (3, H, W) uint8, RGB, as they are."""
    return _encode(Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))))


def _encode(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=_COMPRESSION)
    return file.getvalue()


def _colour_ramp() -> bytes:
    """256 RGB colours, between the anchors in a straight line."""
    positions = np.linspace(0, 255, len(_ANCHORS))
    channels = [
        np.interp(np.arange(256), positions, anchor) for anchor in zip(*_ANCHORS, strict=True)
    ]
    return np.rint(channels).astype(np.uint8).T.tobytes()


_RAMP = _colour_ramp()
_OPACITIES = [round(level * _OPACITY) for level in range(256)]
