"""Memory that decoding takes, told from the header before any of it is taken."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from PIL import Image

from service.errors import ImageTooLarge
from service.images.contract import ImageLimits
from service.images.decode import decode
from tests.hostile_images import deep_png, tiff_of_one_vast_tile, vast_webp
from tests.sample_images import encode, gradient, orientation_exif

LIMITS = ImageLimits(encoded_bytes=16_000_000, pixels=40_000_000, decoded_bytes=256_000_000)
MEGA = 1_000_000


def cost_of(file: bytes) -> list[int]:
    """What decoding a file reserves."""
    reserved: list[int] = []
    decode(file, LIMITS, reserve=reserved.append)
    return reserved


@pytest.mark.parametrize("file", [vast_webp, deep_png, tiff_of_one_vast_tile])
def test_a_small_file_that_takes_much_memory_is_refused_by_its_header(
    file: Callable[[], bytes],
) -> None:
    """Nothing is reserved and nothing is decoded; the message gives both numbers."""
    reserved: list[int] = []

    with pytest.raises(ImageTooLarge, match=r"takes \d+ MB of memory to decode, the limit is 256"):
        decode(file(), LIMITS, reserve=reserved.append)

    assert reserved == []


@pytest.mark.parametrize(
    ("mode", "name", "bytes_a_pixel"),
    [
        ("RGB", "PNG", 4),
        ("L", "PNG", 1),
        ("RGBA", "PNG", 8),
        ("LA", "PNG", 12),
        ("CMYK", "TIFF", 12),
        ("RGB", "WEBP", 16),
    ],
)
def test_memory_is_reserved_by_what_a_pixel_takes(mode: str, name: str, bytes_a_pixel: int) -> None:
    """As Pillow stores it, with what flattening and the decoder add."""
    (reserved,) = cost_of(encode(Image.new(mode, (1000, 1000)), name))

    assert reserved == pytest.approx(bytes_a_pixel * MEGA, rel=0.1)


def test_a_turned_picture_takes_a_copy_more() -> None:
    """While it is turned, both are there."""
    upright, turned = (
        cost_of(encode(gradient(1000, 1000), "PNG", exif=orientation_exif(orientation)))[0]
        for orientation in (1, 6)
    )

    assert turned - upright == 4 * MEGA
