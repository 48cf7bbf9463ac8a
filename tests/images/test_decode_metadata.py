"""What files say about a picture beside its pixels: which way is up, and much that is damaged."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from tests.hostile_images import grey_tags, tiff
from tests.sample_images import (
    LIMITS,
    ORANGE,
    Picture,
    decode_whole,
    encode,
    gradient,
    orientation_exif,
    solid,
)


def damaged_rows() -> bytes:
    """A TIFF whose strip, right after its header, makes no sense."""
    file = bytearray(encode(gradient(16, 24), "TIFF", compression="tiff_lzw"))
    file[8:40] = bytes(32)
    return bytes(file)


def many_samples() -> bytes:
    """A TIFF of more samples a pixel than Pillow reads, as fuzzing found it."""
    return tiff({**grey_tags(8, 8), 277: (3, [18_759])}, bytes(64))


DAMAGED_TIFFS: dict[str, Callable[[], bytes]] = {
    "of damaged rows": damaged_rows,
    "of too many samples": many_samples,
}

# The service silences Pillow's warnings when it starts; pytest sets all filters back for each test.
pytestmark = pytest.mark.filterwarnings("ignore:::PIL")


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
            "import pathlib, sys; from service.images.contract import ImageLimits;"
            "from service.images.decode import decode, silence_decoders; silence_decoders();"
            "image = decode(pathlib.Path(sys.argv[1]).read_bytes(), ImageLimits(10**6, 10**6));"
            "print(image.picture.size)"
        )

        run = subprocess.run(
            [sys.executable, "-c", script, str(file)], capture_output=True, text=True, check=True
        )

        assert (run.stdout, run.stderr) == ("(24, 16)\n", "")

    @pytest.mark.parametrize("name", ["of damaged rows", "of too many samples"])
    def test_a_damaged_tiff_leaves_nothing_on_stderr(self, name: str, tmp_path: Path) -> None:
        """Libtiff has a voice of its own, and Pillow's log: both would break into the service's."""
        file = tmp_path / "picture.tiff"
        file.write_bytes(DAMAGED_TIFFS[name]())
        script = (
            "import pathlib, sys; from service.errors import UndecodableImage;"
            "from service.images.contract import ImageLimits;"
            "from service.images.decode import decode, silence_decoders; silence_decoders()\n"
            "try: decode(pathlib.Path(sys.argv[1]).read_bytes(), ImageLimits(10**6, 10**6))\n"
            "except UndecodableImage: print('refused')"
        )

        run = subprocess.run(
            [sys.executable, "-c", script, str(file)], capture_output=True, text=True, check=True
        )

        assert (run.stdout, run.stderr) == ("refused\n", "")
