"""What becomes of the kinds of pictures there are: turned, damaged, in colours of every kind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.decode import ImageLimits
from service.errors import UndecodableImage
from tests.images import (
    Picture,
    declare_premultiplied,
    decode_whole,
    encode,
    gradient,
    orientation_exif,
    png,
    solid,
    ycck_jpeg,
)

# The service silences Pillow's warnings when it starts; pytest sets all filters back for each test.
pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

LIMITS = ImageLimits(encoded_bytes=1_000_000, pixels=100_000)
ORANGE = (200, 100, 20)


def grey(levels: NDArray[np.integer]) -> Picture:
    """The (H, W, 3) picture of grey levels (H, W)."""
    return np.repeat(levels.astype(np.uint8)[..., None], 3, axis=2)


class TestOrientation:
    """Cameras store pictures as the sensor lay and say how to turn them."""

    STORED: ClassVar[dict[int, Callable[[Picture], Picture]]] = {
        1: lambda upright: upright,
        2: np.fliplr,
        3: lambda upright: np.rot90(upright, 2),
        4: np.flipud,
        5: lambda upright: upright.transpose(1, 0, 2),
        6: lambda upright: np.rot90(upright, 1),
        7: lambda upright: np.rot90(upright, 2).transpose(1, 0, 2),
        8: lambda upright: np.rot90(upright, -1),
    }

    @pytest.mark.parametrize("orientation", STORED)
    def test_a_picture_is_turned_upright(self, orientation: int) -> None:
        """All eight orientations of EXIF are undone."""
        upright = gradient(7, 12)
        stored = np.ascontiguousarray(self.STORED[orientation](upright))

        decoded = decode_whole(encode(stored, "PNG", exif=orientation_exif(orientation)), LIMITS)

        np.testing.assert_array_equal(decoded, upright)

    @pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF"])
    def test_every_format_that_has_exif_is_turned(self, name: str) -> None:
        """A picture stored lying down stands up again."""
        stored = encode(solid(ORANGE, 10, 30), name, exif=orientation_exif(6))

        assert decode_whole(stored, LIMITS).shape == (30, 10, 3)

    def test_xmp_is_read_where_there_is_no_exif(self) -> None:
        """Some programs store the orientation as XMP only."""
        xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'

        assert decode_whole(encode(solid(ORANGE, 10, 30), "JPEG", xmp=xmp), LIMITS).shape == (
            30,
            10,
            3,
        )

    @pytest.mark.parametrize("orientation", [0, 9, 65535])
    def test_an_orientation_that_does_not_exist_is_ignored(self, orientation: int) -> None:
        """Numbers outside 1 to 8 leave the picture as it is."""
        file = encode(gradient(7, 12), "PNG", exif=orientation_exif(orientation))

        np.testing.assert_array_equal(decode_whole(file, LIMITS), gradient(7, 12))


class TestDamagedMetadata:
    """Broken metadata never cost a good picture."""

    EXIF_WITHOUT_A_RESOLUTION = (  # tag 282 is an empty string, where two numbers should be
        b"Exif\0\0II*\0\x08\0\0\0\x02\0"
        b"\x28\x01\x03\0\x01\0\0\0\x02\0\0\0"
        b"\x1a\x01\x02\0\x01\0\0\0\0\0\0\0"
        b"\0\0\0\0"
    )

    @pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP"])
    @pytest.mark.parametrize(
        "exif",
        [
            b"Exif\0\0rubbish",
            orientation_exif(6)[:-8],
            orientation_exif(6)[:12] + b"\xff" * 40,
            EXIF_WITHOUT_A_RESOLUTION,
        ],
        ids=["no header", "cut short", "overwritten", "empty resolution"],
    )
    def test_damaged_exif_counts_as_none(self, name: str, exif: bytes) -> None:
        """The picture comes out as if it had no EXIF block."""
        plain = decode_whole(encode(gradient(16, 24), name), LIMITS)

        decoded = decode_whole(encode(gradient(16, 24), name, exif=exif), LIMITS)

        np.testing.assert_array_equal(decoded, plain)

    @pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF"])
    def test_a_damaged_colour_profile_is_ignored(self, name: str) -> None:
        """The picture comes out as if it had no profile."""
        plain = decode_whole(encode(gradient(16, 24), name), LIMITS)

        decoded = decode_whole(encode(gradient(16, 24), name, icc_profile=b"rubbish"), LIMITS)

        np.testing.assert_array_equal(decoded, plain)

    def test_a_damaged_picture_leaves_no_warning_behind(self, tmp_path: Path) -> None:
        """What Pillow thinks of a client's metadata does not reach the service's output."""
        file = tmp_path / "picture.jpg"
        file.write_bytes(encode(gradient(16, 24), "JPEG", exif=orientation_exif(6)[:-8]))
        script = (
            "import pathlib, sys; from service.decode import ImageLimits, decode;"
            "image = decode(pathlib.Path(sys.argv[1]).read_bytes(), ImageLimits(10**6, 10**6));"
            "print(image.picture.size)"
        )

        run = subprocess.run(
            [sys.executable, "-c", script, str(file)], capture_output=True, text=True, check=True
        )

        assert (run.stdout, run.stderr) == ("(24, 16)\n", "")

    def test_a_damaged_tiff_leaves_nothing_on_stderr(
        self, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Libtiff has a voice of its own, which would break into the service's log."""
        file = bytearray(encode(gradient(16, 24), "TIFF", compression="tiff_lzw"))
        file[8:40] = bytes(32)  # its strip comes right after the header

        with pytest.raises(UndecodableImage):
            decode_whole(bytes(file), LIMITS)

        assert capfd.readouterr() == ("", "")


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
