"""What becomes of the kinds of pictures there are: in colours of every kind, and of every depth."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.sample_images import (
    LIMITS,
    ORANGE,
    Picture,
    declare_premultiplied,
    decode_whole,
    encode,
    png,
    solid,
    ycck_jpeg,
)


def grey(levels: NDArray[np.integer]) -> Picture:
    """The (H, W, 3) picture of grey levels (H, W)."""
    return np.repeat(levels.astype(np.uint8)[..., None], 3, axis=2)


class TestColour:
    """Every way to store colour ends as RGB."""

    @pytest.mark.parametrize(
        ("mode", "colour", "expected"),
        [
            ("1", 255, (255, 255, 255)),
            ("L", 77, (77, 77, 77)),
            ("LA", (77, 0), (255, 255, 255)),
            ("LA", (77, 255), (77, 77, 77)),
            ("RGBA", (*ORANGE, 255), ORANGE),
            ("RGBA", (*ORANGE, 0), (255, 255, 255)),
            ("RGBA", (0, 0, 0, 51), (204, 204, 204)),
        ],
    )
    def test_grey_and_transparent_pictures(
        self, mode: str, colour: int | tuple[int, ...], expected: tuple[int, int, int]
    ) -> None:
        """Grey becomes three equal channels; what shows through is white."""
        file = encode(Image.new(mode, (16, 16), colour), "PNG")

        np.testing.assert_array_equal(decode_whole(file, LIMITS), solid(expected))

    @pytest.mark.parametrize("name", ["PNG", "GIF"])
    def test_a_transparent_palette_entry_is_white(self, name: str) -> None:
        """Of two palette colours the transparent one gives way to white, the other stays."""
        picture = Image.new("P", (16, 16), 1)
        picture.putpalette([*ORANGE, 10, 20, 30])
        picture.paste(0, (0, 0, 16, 8))

        decoded = decode_whole(encode(picture, name, transparency=0), LIMITS)

        expected = np.vstack([solid((255, 255, 255), 8, 16), solid((10, 20, 30), 8, 16)])
        np.testing.assert_array_equal(decoded, expected)

    def test_palette_entries_may_be_half_transparent(self) -> None:
        """PNG gives each palette entry an alpha of its own."""
        picture = Image.new("P", (16, 16), 0)
        picture.putpalette([0, 0, 0, 255, 0, 0])

        decoded = decode_whole(encode(picture, "PNG", transparency=bytes([51, 255])), LIMITS)

        np.testing.assert_array_equal(decoded, solid((204, 204, 204)))

    def test_a_transparent_colour_is_white(self) -> None:
        """PNG may declare one colour of an RGB picture transparent."""
        picture = np.vstack([solid(ORANGE, 8, 16), solid((1, 2, 3), 8, 16)])

        decoded = decode_whole(encode(picture, "PNG", transparency=ORANGE), LIMITS)

        expected = np.vstack([solid((255, 255, 255), 8, 16), solid((1, 2, 3), 8, 16)])
        np.testing.assert_array_equal(decoded, expected)

    @pytest.mark.parametrize(
        ("mode", "premultiplied", "expected"),
        [("LA", (40, 51), (244, 244, 244)), ("RGBA", (40, 20, 4, 51), (244, 224, 208))],
    )
    def test_premultiplied_alpha_is_undone(
        self, mode: str, premultiplied: tuple[int, ...], expected: tuple[int, int, int]
    ) -> None:
        """A TIFF whose colours were multiplied by alpha shows the colour over white."""
        file = declare_premultiplied(encode(Image.new(mode, (16, 16), premultiplied), "TIFF"))

        np.testing.assert_allclose(decode_whole(file, LIMITS), solid(expected), atol=1)

    @pytest.mark.parametrize("name", ["JPEG", "TIFF"])
    def test_inks_are_subtracted(self, name: str) -> None:
        """CMYK becomes (1 - ink)(1 - black) per channel."""
        picture = Image.new("CMYK", (16, 16), (0, 128, 255, 51))

        decoded = decode_whole(encode(picture, name), LIMITS)

        np.testing.assert_allclose(decoded, solid((204, 102, 0)), atol=2)

    def test_inverted_ycck_of_adobe_is_understood(self) -> None:
        """A print-ready JPEG keeps its colours."""
        np.testing.assert_allclose(decode_whole(ycck_jpeg(ORANGE), LIMITS), solid(ORANGE), atol=3)

    def test_lab_becomes_srgb(self) -> None:
        """A Lab TIFF shows the colours it was made from."""
        file = encode(Image.fromarray(solid(ORANGE)).convert("LAB"), "TIFF")

        np.testing.assert_allclose(decode_whole(file, LIMITS), solid(ORANGE), atol=3)

    def test_ycbcr_becomes_rgb(self) -> None:
        """A YCbCr TIFF shows the colours it was made from."""
        file = encode(Image.fromarray(solid(ORANGE)).convert("YCbCr"), "TIFF")

        np.testing.assert_allclose(decode_whole(file, LIMITS), solid(ORANGE), atol=2)


class TestDeepPictures:
    """More than 8 bits a channel are brought to 8."""

    DEEP = np.array([[0, 128, 129, 257, 25_700, 65_535]], np.uint16)
    SHALLOW = np.array([[0, 0, 1, 1, 100, 255]], np.uint8)

    @pytest.mark.parametrize(
        "file",
        [
            encode(Image.frombytes("I;16", (6, 1), DEEP.astype("<u2").tobytes()), "PNG"),
            encode(Image.frombytes("I;16", (6, 1), DEEP.astype("<u2").tobytes()), "TIFF"),
            encode(Image.frombytes("I;16B", (6, 1), DEEP.astype(">u2").tobytes()), "TIFF"),
        ],
        ids=["PNG", "little-endian TIFF", "big-endian TIFF"],
    )
    def test_16_bit_grey_is_divided_by_257(self, file: bytes) -> None:
        """65535 is white, and everything between is rounded to the nearest level."""
        np.testing.assert_array_equal(decode_whole(file, LIMITS), grey(self.SHALLOW))

    def test_a_transparent_16_bit_grey_is_white(self) -> None:
        """Only the exact value is transparent, not its 8-bit neighbours."""
        row = np.array([128, 129, 130], ">u2").tobytes()
        file = png(3, 1, depth=16, colour_type=0, tRNS=row[2:4], IDAT=b"\0" + row)

        np.testing.assert_array_equal(decode_whole(file, LIMITS), grey(np.array([[0, 255, 1]])))

    def test_16_bit_rgb_keeps_its_high_bytes(self) -> None:
        """The low byte of each channel is dropped."""
        row = np.array([0x1234, 0xFFFF, 0x00FF], ">u2").tobytes()

        decoded = decode_whole(png(1, 1, depth=16, colour_type=2, IDAT=b"\0" + row), LIMITS)

        np.testing.assert_array_equal(decoded, solid((0x12, 0xFF, 0x00), 1, 1))

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ([0.0, 0.5, 1.0], [0, 128, 255]),
            ([-3e38, 0.0, 3e38], [0, 128, 255]),
            ([np.nan, 2.0, 4.0, np.inf, -np.inf], [0, 0, 255, 255, 0]),
            ([7.0, 7.0], [0, 0]),
            ([np.nan, np.nan], [0, 0]),
        ],
    )
    def test_floats_are_spread_from_black_to_white(
        self, values: list[float], expected: list[int]
    ) -> None:
        """The smallest finite value is black, the largest white; without a range all is black."""
        file = encode(Image.fromarray(np.array([values], np.float32)), "TIFF")

        np.testing.assert_array_equal(decode_whole(file, LIMITS), grey(np.array([expected])))

    def test_32_bit_integers_are_spread_from_black_to_white(self) -> None:
        """The range of the picture itself decides, since no white is agreed on."""
        file = encode(Image.fromarray(np.array([[-20, 0, 80]], np.int32)), "TIFF")

        np.testing.assert_array_equal(decode_whole(file, LIMITS), grey(np.array([[0, 51, 255]])))
