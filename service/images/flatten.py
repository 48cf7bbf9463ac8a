"""A picture of any kind -> 8 bits a channel, grey or RGB, nothing transparent.

| picture | becomes |
|---|---|
| transparent: alpha, transparent palette entry or colour | flattened on white |
| CMYK and YCCK, Adobe's inverted ones too | RGB by ink subtraction, without a colour profile |
| LAB | sRGB, from the D50 white point |
| 16-bit grey | value / 257, rounded; other 16-bit pictures keep their high byte |
| float, 32-bit and signed 16-bit grey | its finite values from smallest to largest: 0 to 255 |

An embedded colour profile is ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Deep pictures are converted in strips of so many pixels: as whole arrays they would need several
# times the memory of the picture itself.
_STRIP_PIXELS = 1 << 18


def flatten(image: Image.Image) -> Image.Image:
    """Bring a loaded picture of any mode to L or RGB, what is transparent to white.

    Returns:
        The picture itself where there is nothing to do.
    """
    if image.mode.startswith("I;16"):
        return _from_16_bit(image)
    if image.mode in ("I", "F"):
        return _from_unbounded(image)
    if image.has_transparency_data:
        return _on_white(image)
    if image.mode in ("L", "RGB"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode == "La":  # premultiplied; RGB's counterpart is undone while it is read
        image = image.convert("LA")
    rgba = image if image.mode == "RGBA" else image.convert("RGBA")
    canvas = Image.new("RGB", image.size, "white")
    canvas.paste(rgba, mask=rgba)
    return canvas


def _from_16_bit(image: Image.Image) -> Image.Image:
    transparent = image.info.get("transparency")

    def levels(values: NDArray[np.uint16]) -> NDArray[np.uint8]:
        grey = ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
        if transparent is not None:
            grey[values == transparent] = 255
        return grey

    return _to_grey(image, levels)


def _from_unbounded(image: Image.Image) -> Image.Image:
    """Spread the finite values; NaN and minus infinity become black, infinity becomes white."""
    low, high = _finite_range(image)

    def levels(values: NDArray[np.float32] | NDArray[np.int32]) -> NDArray[np.uint8]:
        spread = values.astype(np.float64)  # float32's range overflows float32
        np.nan_to_num(spread, copy=False, nan=low, posinf=high, neginf=low)
        spread -= low
        spread *= 255 / ((high - low) or 1.0)
        return np.rint(spread, out=spread).astype(np.uint8)

    return _to_grey(image, levels)


def _finite_range(image: Image.Image) -> tuple[float, float]:
    """The smallest and largest finite value; zeros where there is none."""
    finite = (strip[np.isfinite(strip)] for _, strip in _strips(image))
    ranges = [(float(values.min()), float(values.max())) for values in finite if values.size]
    lows, highs = zip(*ranges, strict=True) if ranges else ((0.0,), (0.0,))
    return min(lows), max(highs)


def _to_grey(
    image: Image.Image, levels: Callable[[NDArray[Any]], NDArray[np.uint8]]
) -> Image.Image:
    """Make an L picture; `levels` maps rows of values to grey, one by one."""
    grey = Image.new("L", image.size)
    for top, strip in _strips(image):
        grey.paste(Image.fromarray(levels(strip)), (0, top))
    return grey


def _strips(image: Image.Image) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield every row once: (h, W) values, and the row at which they begin."""
    rows = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        yield top, np.asarray(image.crop((0, top, image.width, min(top + rows, image.height))))
