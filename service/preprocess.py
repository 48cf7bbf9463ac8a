"""A decoded image -> the square of pixels that the model sees, as its manifest says."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.manifest import InputContract

_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


_LONGEST_ASPECT = 8  # a centre crop shows 1, the kernel that scales reaches a few pixels further


def preprocess(image: NDArray[np.uint8], contract: InputContract) -> NDArray[np.uint8]:
    """Scale an image and make it square.

    `crop` gives what torchvision's `Resize(shorter_side_px)` and `CenterCrop(size_px)` give of a
    PIL image. `fit` scales the longer side to `size_px` and centres the picture on the median
    colour of its border.

    Args:
        image: (H, W, 3) uint8, RGB.
        contract: the model's.

    Returns:
        (3, size_px, size_px) uint8, RGB, C-contiguous, an array of its own.
    """
    square = _crop(image, contract) if contract.fit == "crop" else _fit(image, contract)
    return square.transpose(2, 0, 1).copy()


def _crop(image: NDArray[np.uint8], contract: InputContract) -> NDArray[np.uint8]:
    image = _without_far_ends(image)
    height, width, _ = image.shape
    side, shorter = contract.size_px, contract.shorter_side_px or contract.size_px
    size = (_scaled_side(width, height, shorter), _scaled_side(height, width, shorter))
    scaled = np.asarray(Image.fromarray(image).resize(size, _FILTERS[contract.interpolation]))
    left, top = (round((scaled_side - side) / 2) for scaled_side in size)  # half to even
    return scaled[top : top + side, left : left + side]


def _without_far_ends(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Cut from both ends of a strip, alike, what no centre crop shows.

    Scaled whole, a picture of 1 x 10000 would need 256 x 2560000 pixels.
    """
    height, width, _ = image.shape
    longest = _LONGEST_ASPECT * min(height, width)
    top, left = max(0, (height - longest) // 2), max(0, (width - longest) // 2)
    return image[top : height - top, left : width - left]


def _scaled_side(side: int, other_side: int, shorter: int) -> int:
    """Length of a side once the shorter of both is `shorter`; rounds down, as torchvision does."""
    return shorter if side <= other_side else shorter * side // other_side


def _fit(image: NDArray[np.uint8], contract: InputContract) -> NDArray[np.uint8]:
    height, width, _ = image.shape
    side = contract.size_px
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    scaled = np.asarray(Image.fromarray(image).resize(size, _FILTERS[contract.interpolation]))
    height, width, _ = scaled.shape
    left, top = (side - width) // 2, (side - height) // 2
    square = np.empty((side, side, 3), np.uint8)
    square[:] = _border_colour(scaled)
    square[top : top + height, left : left + width] = scaled
    return square


def _border_colour(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Median per channel over the outermost pixels of (H, W, 3): a (3,) uint8 colour."""
    is_border = np.ones(picture.shape[:2], bool)
    is_border[1:-1, 1:-1] = False
    colour: NDArray[np.float64] = np.median(picture[is_border], axis=0)
    return np.rint(colour).astype(np.uint8)
