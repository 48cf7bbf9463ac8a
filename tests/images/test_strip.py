"""What is left out of a file before a decoder sees it, and what its metadata say all the same."""

from __future__ import annotations

import numpy as np
import pytest

from service.errors import ImageTooLarge
from service.images.contract import ImageLimits
from service.images.formats import format_of
from service.images.strip import MOST_PARTS, MOST_SCANS
from tests.hostile_images import jpeg_of_scans, png_of_chunks, png_with
from tests.sample_images import decode_whole, encode, gradient, orientation_exif

LIMITS = ImageLimits(encoded_bytes=16_000_000, pixels=1_000_000)
WIDE = gradient(16, 24)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "GIF"])
def test_a_stripped_file_shows_the_same_picture(name: str) -> None:
    """Profile, comment and EXIF are gone, every pixel is there."""
    beside = {} if name == "GIF" else {"icc_profile": b"x" * 5000, "exif": orientation_exif(1)}
    file = encode(WIDE, name, comment=b"a comment", **beside)

    stripped = format_of(file).strip(file)

    assert len(stripped.content) < len(file)
    assert b"a comment" not in stripped.content
    np.testing.assert_array_equal(
        decode_whole(stripped.content, LIMITS), decode_whole(encode(WIDE, name), LIMITS)
    )


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_read(name: str, orientation: int) -> None:
    """Of all metadata that alone is looked at."""
    file = encode(WIDE, name, exif=orientation_exif(orientation))

    assert format_of(file).strip(file).orientation == orientation


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (b"iCCP", b"x" * 100_000),
        (b"zTXt", b"a\0\0" + b"rubbish"),
        (b"gAMA", b"too long for a number"),
        (b"pHYs", b""),
        (b"eXIf", b"MM\0*\0\0\0\x08\xff\xff"),
        (b"acTL", b"\xff" * 8),
    ],
)
def test_a_sound_picture_with_a_damaged_ancillary_chunk_is_answered(
    name: bytes, content: bytes
) -> None:
    """The pixels are whole, so nothing else counts."""
    decoded = decode_whole(png_with(name, content), LIMITS)

    np.testing.assert_array_equal(decoded, gradient(8, 8))


def test_a_wrong_checksum_of_what_is_beside_the_pixels_is_nothing() -> None:
    """Of a text, here; one of the pixels is a damaged picture still."""
    decoded = decode_whole(png_with(b"tEXt", b"a\0b", checksum=1), LIMITS)

    np.testing.assert_array_equal(decoded, gradient(8, 8))


def test_a_jpeg_of_very_many_scans_is_refused_before_it_is_decoded() -> None:
    """Each scan goes over the whole picture; the limit is told."""
    with pytest.raises(ImageTooLarge, match=f"over {MOST_SCANS} scans, which is the limit"):
        decode_whole(jpeg_of_scans(20_000), LIMITS)


def test_an_ordinary_progressive_jpeg_is_not() -> None:
    """Encoders write up to a dozen."""
    assert decode_whole(jpeg_of_scans(20), LIMITS).shape == (64, 64, 3)


def test_a_file_of_very_many_parts_is_refused() -> None:
    """A few are skipped, a million are not walked through."""
    assert decode_whole(png_of_chunks(1000), LIMITS).shape == (8, 8, 3)
    with pytest.raises(ImageTooLarge, match=f"over {MOST_PARTS} parts"):
        decode_whole(png_of_chunks(MOST_PARTS + 1), LIMITS)
