"""What becomes of the bytes that clients send as pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from service.errors import BadInput, ImageTooLarge, UndecodableImage, UnsupportedFormat
from service.images.contract import ImageLimits
from tests.sample_images import (
    LIMITS,
    ORANGE,
    Picture,
    decode_whole,
    encode,
    gradient,
    noise,
    png,
    solid,
)

# The service silences Pillow's warnings when it starts; pytest sets all filters back for each test.
pytestmark = pytest.mark.filterwarnings("ignore:::PIL")


LOSSLESS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "WEBP": {"lossless": True},
    "BMP": {},
    "TIFF": {"compression": "tiff_lzw"},
}
FILES = {
    "JPEG": encode(noise(48, 56), "JPEG"),
    "progressive JPEG": encode(noise(48, 56), "JPEG", progressive=True),
    "PNG": encode(noise(48, 56), "PNG"),
    "palette PNG": encode(Image.fromarray(noise(48, 56)).quantize(16), "PNG", transparency=3),
    "WebP": encode(noise(48, 56), "WEBP"),
    "lossless WebP": encode(noise(48, 56), "WEBP", lossless=True),
    "AVIF": encode(noise(48, 56), "AVIF"),
    "GIF": encode(noise(48, 56), "GIF"),
    "BMP": encode(noise(48, 56), "BMP"),
    "TIFF": encode(noise(48, 56), "TIFF"),
    "LZW TIFF": encode(noise(48, 56), "TIFF", compression="tiff_lzw"),
}


def try_to_decode(data: bytes) -> Picture | BadInput:
    """Give what a client gets: a picture, or a refusal; anything else fails the test."""
    try:
        return decode_whole(data, LIMITS)
    except BadInput as refusal:
        return refusal


@pytest.mark.parametrize("name", LOSSLESS)
def test_a_lossless_file_gives_the_pixels_it_was_made_from(name: str) -> None:
    """Every pixel of a lossless format arrives."""
    picture = noise(19, 31)

    decoded = decode_whole(encode(picture, name, **LOSSLESS[name]), LIMITS)

    np.testing.assert_array_equal(decoded, picture, strict=True)


@pytest.mark.parametrize("name", ["JPEG", "WEBP", "AVIF", "GIF"])
def test_a_lossy_file_gives_nearly_the_picture_it_was_made_from(name: str) -> None:
    """Lossy formats and palettes keep a flat colour to a few levels."""
    decoded = decode_whole(encode(solid(ORANGE, 20, 30), name), LIMITS)

    np.testing.assert_allclose(decoded, solid(ORANGE, 20, 30), atol=4)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF"])
def test_the_smallest_picture_is_a_pixel(name: str) -> None:
    """Every format may hold a single pixel."""
    decoded = decode_whole(encode(solid((255, 255, 255), 1, 1), name), LIMITS)

    np.testing.assert_array_equal(decoded, solid((255, 255, 255), 1, 1))


def test_a_multi_picture_jpeg_gives_its_first_picture() -> None:
    """MPO files of phones and stereo cameras are JPEGs with more JPEGs behind."""
    first, second = (Image.fromarray(solid(grey, 16, 16)) for grey in [(90,) * 3, (20,) * 3])

    decoded = decode_whole(encode(first, "MPO", save_all=True, append_images=[second]), LIMITS)

    np.testing.assert_allclose(decoded, solid((90, 90, 90)), atol=1)


@pytest.mark.parametrize("name", ["GIF", "PNG", "WEBP", "AVIF", "TIFF"])
def test_of_several_frames_the_first_is_taken(name: str) -> None:
    """Animated pictures and documents of many pages show their first one."""
    first = Image.new("RGB", (16, 16), "white")
    second = Image.new("RGB", (16, 16), "black")

    decoded = decode_whole(encode(first, name, save_all=True, append_images=[second]), LIMITS)

    np.testing.assert_array_equal(decoded, solid((255, 255, 255)))


def test_what_follows_the_picture_is_ignored() -> None:
    """Some cameras append bytes of their own behind the end."""
    file = encode(gradient(16, 24), "PNG")

    np.testing.assert_array_equal(decode_whole(file + b"more", LIMITS), gradient(16, 24))


class TestLimits:
    """A picture over a limit is refused before anything is done with it."""

    def test_pixels_are_counted_from_the_header(self) -> None:
        """A file that only claims to be large is refused by its claim."""
        file = png(9000, 7000, depth=8, colour_type=2)
        limits = ImageLimits(encoded_bytes=1000, pixels=40_000_000)

        with pytest.raises(ImageTooLarge) as refusal:
            decode_whole(file, limits)

        assert refusal.value.message == "image is 9000 x 7000 px, the limit is 40 megapixels"

    def test_a_picture_beyond_pillows_own_limit_gets_the_same_message(self) -> None:
        """The service's limit is the one that the client is told of."""
        with pytest.raises(ImageTooLarge, match=r"^image is 60000 x 50000 px, the limit is 0\.1 "):
            decode_whole(png(60_000, 50_000, depth=8, colour_type=2), LIMITS)

    def test_a_webp_of_impossible_size_is_too_large(self) -> None:
        """A WebP header alone may claim more than Pillow opens; nobody opens it."""
        header = b"WEBPVP8X" + (10).to_bytes(4, "little") + bytes(4) + b"\xff\xff\xff" * 2

        with pytest.raises(ImageTooLarge, match=r"^image is 16777216 x 16777216 px, the limit is "):
            decode_whole(b"RIFF" + (22).to_bytes(4, "little") + header, LIMITS)

    def test_a_picture_at_the_limits_is_accepted(self) -> None:
        """The limits are the largest picture, not the smallest refused one."""
        file = encode(gradient(20, 30), "PNG")

        decoded = decode_whole(file, ImageLimits(encoded_bytes=len(file), pixels=600))

        assert decoded.shape == (20, 30, 3)

    def test_one_pixel_more_is_refused(self) -> None:
        """The pixel limit holds for width times height."""
        with pytest.raises(ImageTooLarge, match="image is 30 x 20 px"):
            decode_whole(encode(gradient(20, 30), "PNG"), ImageLimits(10_000, pixels=599))

    def test_one_byte_more_is_refused(self) -> None:
        """The byte limit holds for the encoded file."""
        with pytest.raises(ImageTooLarge, match=r"^image is 101 bytes, the limit is 100 bytes$"):
            decode_whole(bytes(101), ImageLimits(encoded_bytes=100, pixels=100))


class TestRefusals:
    """What is not an accepted picture is told so, whatever it is called."""

    @pytest.mark.parametrize("data", [b"", b"hello", bytes(100), b"BM", b"GIF89a", b"\xff\xd8\xff"])
    def test_bytes_that_are_no_picture_are_undecodable(self, data: bytes) -> None:
        """Nothing, text, zeros, and bare first bytes of a format."""
        with pytest.raises(UndecodableImage):
            decode_whole(data, LIMITS)

    def test_an_unsupported_format_is_named(self) -> None:
        """The message says what the picture is, and what would be accepted."""
        with pytest.raises(UnsupportedFormat, match=r"^image is QOI, accepted are JPEG, PNG, WebP"):
            decode_whole(encode(solid(ORANGE), "QOI"), LIMITS)

    def test_a_palette_picture_without_a_palette_is_undecodable(self) -> None:
        """What Pillow takes for granted of a file may be missing."""
        with pytest.raises(UndecodableImage):
            decode_whole(png(1, 1, depth=8, colour_type=3, IDAT=b"\0\0"), LIMITS)

    @pytest.mark.parametrize("name", FILES)
    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
    def test_a_truncated_picture_is_undecodable(self, name: str, share: float) -> None:
        """Half a picture is not guessed at."""
        file = FILES[name]

        with pytest.raises(UndecodableImage):
            decode_whole(file[: int(len(file) * share)], LIMITS)


class TestHostileFiles:
    """No file gets more out of the decoder than a picture or a refusal."""

    @given(start=st.sampled_from([b"", *(file[:40] for file in FILES.values())]), rest=st.binary())
    @settings(deadline=None)  # decoding times vary with what else the machine does
    def test_random_bytes_are_decoded_or_refused(self, start: bytes, rest: bytes) -> None:
        """Rubbish behind a good beginning does not break anything."""
        assert isinstance(try_to_decode(start + rest), np.ndarray | BadInput)

    @given(
        file=st.sampled_from(list(FILES.values())),
        flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255))),
        kept=st.floats(0.5, 1),
    )
    @settings(deadline=None)
    def test_damaged_files_are_decoded_or_refused(
        self, file: bytes, flips: list[tuple[float, int]], kept: float
    ) -> None:
        """Bytes changed anywhere and a lost end do not break anything."""
        damaged = bytearray(file)
        for position, value in flips:
            damaged[int(position * len(file))] = value

        outcome = try_to_decode(bytes(damaged[: int(len(file) * kept)]))

        assert isinstance(outcome, np.ndarray | BadInput)
