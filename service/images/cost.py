"""What a picture will take of memory, told from its header before any of it is spent."""

from __future__ import annotations

from PIL import Image

from service.images.contract import InputContract
from service.images.resize import is_strip, scaled_size

_STORED = {"1": 1, "L": 1, "P": 1}  # bytes of a pixel in Pillow's memory; 2 of I;16, else 4
_ROW = 12  # bytes beside the pixels of a row: its address, and what it is filled up with
_BASE = 1_000_000  # of an image without pixels
_DEEP = 12_000_000  # a strip of a deep picture, as arrays


def picture_bytes(
    image: Image.Image, contract: InputContract | None, *, is_turned: bool = False
) -> int:
    """How much memory a picture takes until it is flat, upright and scaled, at most.

    Args:
        image: opened, and scaled down where it will be; nothing of it is decoded yet.
        contract: of the model that will look at it, if any.
        is_turned: whether it does not lie as it is to be seen.
    """
    width, height = image.size
    total = _BASE + _plane(width, height, _stored(image.mode))
    total += sum(_plane(width, height, a_pixel) for a_pixel in _flattened(image))
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        total += _DEEP
    if is_turned:
        total += _plane(height, width, 4)
    return total if contract is None else total + _scaled(width, height, contract)


def _plane(width: int, height: int, a_pixel: int) -> int:
    return height * (width * a_pixel + _ROW)


def _stored(mode: str) -> int:
    return 2 if mode.startswith("I;16") else _STORED.get(mode, 4)


def _flattened(image: Image.Image) -> tuple[int, ...]:
    """Bytes of a pixel of each picture that `flatten` makes."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return (1,)
    if image.mode == "RGBA" and image.format == "BMP":
        return (1, 4)  # its alpha is looked at
    if image.has_transparency_data:
        return {"RGBA": (4,), "La": (4, 4, 4)}.get(image.mode, (4, 4))
    return {"L": (), "RGB": (), "1": (1,)}.get(image.mode, (4,))


def _scaled(width: int, height: int, contract: InputContract) -> int:
    """What scaling takes: the picture once it is as wide as it will be, and the square, thrice."""
    across, down = scaled_size(width, height, contract)
    square = 3 * 4 * contract.size_px**2
    if is_strip(across, down):
        return _plane(contract.size_px, min(width, height), 4) + square
    return _plane(across, height, 4) + square
