"""A decoded image -> the square of pixels that the model sees, as its manifest says."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.images.contract import InputContract
from service.images.decode import DecodedImage
from service.images.resize import is_strip, scaled_size

_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


def preprocess(image: DecodedImage, contract: InputContract) -> NDArray[np.uint8]:
    """Scale an image and make it square.

    `crop` gives what torchvision's `Resize(shorter_side_px)` and `CenterCrop(size_px)` give of a
    PIL image, to the bit; of a long strip, which would grow without bound, only what the crop
    will show is scaled, which is the same up to rounding. `fit` scales the longer side to
    `size_px` and centres the picture on the median colour of its border.

    Args:
        image: of any size.
        contract: the model's.

    Returns:
        (3, size_px, size_px) uint8, RGB, C-contiguous, an array of its own.
    """
    square = _crop(image, contract) if contract.fit == "crop" else _fit(image, contract)
    return square.transpose(2, 0, 1).copy()


def _crop(image: DecodedImage, contract: InputContract) -> NDArray[np.uint8]:
    left, top, right, bottom = image.box
    width, height = right - left, bottom - top
    scaled_width, scaled_height = scaled_size(width, height, contract)
    side = contract.size_px
    column = round((scaled_width - side) / 2)  # half to even, as torchvision does
    row = round((scaled_height - side) / 2)
    if not is_strip(scaled_width, scaled_height):
        scaled = _resize(image.picture, (scaled_width, scaled_height), image.box, contract)
        return scaled[row : row + side, column : column + side]
    shown = (
        left + width * column / scaled_width,
        top + height * row / scaled_height,
        left + width * (column + side) / scaled_width,
        top + height * (row + side) / scaled_height,
    )
    return _resize(image.picture, (side, side), shown, contract)


def _fit(image: DecodedImage, contract: InputContract) -> NDArray[np.uint8]:
    left, top, right, bottom = image.box
    width, height = scaled_size(right - left, bottom - top, contract)
    scaled = _resize(image.picture, (width, height), image.box, contract)
    side = contract.size_px
    column, row = (side - width) // 2, (side - height) // 2
    square = np.empty((side, side, 3), np.uint8)
    square[:] = _border_colour(scaled)
    square[row : row + height, column : column + width] = scaled
    return square


def _resize(
    picture: Image.Image,
    size: tuple[int, int],
    box: tuple[float, float, float, float],
    contract: InputContract,
) -> NDArray[np.uint8]:
    """Scale a box of a picture to a width and a height: (height, width, 3) uint8."""
    resized = picture.resize(size, _FILTERS[contract.interpolation], box)
    return np.asarray(resized if resized.mode == "RGB" else resized.convert("RGB"))


def _border_colour(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Median per channel over the outermost pixels of (H, W, 3): a (3,) uint8 colour."""
    is_border = np.ones(picture.shape[:2], bool)
    is_border[1:-1, 1:-1] = False
    colour: NDArray[np.float64] = np.median(picture[is_border], axis=0)
    return np.rint(colour).astype(np.uint8)
