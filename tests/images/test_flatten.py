"""What `test_decode_kinds.py` cannot see from outside: what is copied, and kept in memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from PIL import Image

from service.images.flatten import flatten
from tests.sample_images import noise, solid

MEGAPIXEL = (1000, 1000)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_plain_picture_is_not_copied(mode: str) -> None:
    """What the model takes as it is costs nothing."""
    picture = Image.new(mode, (3, 2))

    assert flatten(picture) is picture


@pytest.mark.parametrize("mode", ["1", "I;16", "I", "F"])
def test_grey_stays_grey(mode: str) -> None:
    """A third of the memory, and of the work of scaling it."""
    assert flatten(Image.new(mode, (3, 2))).mode == "L"


def test_transparency_is_white_without_a_second_copy_of_the_picture() -> None:
    """The picture itself is left as it was."""
    picture = Image.new("RGBA", (4, 3), (0, 0, 0, 51))

    flat = flatten(picture)

    np.testing.assert_array_equal(np.asarray(flat), solid((204, 204, 204), 3, 4))
    assert picture.getpixel((0, 0)) == (0, 0, 0, 51)


class TestStrips:
    """Deep pictures are converted a few rows at a time."""

    def test_rows_of_every_strip_are_spread_alike(self) -> None:
        """The darkest and the brightest value may lie far apart."""
        values = np.full(MEGAPIXEL, 30, np.float32)
        values[0, 0], values[999, 999], values[500, 500] = 10, 110, np.nan

        grey = np.asarray(flatten(Image.fromarray(values)))

        expected = np.full(MEGAPIXEL, 51, np.uint8)
        expected[0, 0], expected[999, 999], expected[500, 500] = 0, 255, 0
        np.testing.assert_array_equal(grey, expected)

    def test_every_row_arrives_in_its_place(self) -> None:
        """The last strip is shorter than the others."""
        values = noise(701, 500)[..., 0].astype(np.uint16) * 257

        grey = np.asarray(flatten(Image.frombytes("I;16", (500, 701), values.tobytes())))

        np.testing.assert_array_equal(grey, values // 257)

    @pytest.mark.parametrize("mode", ["I;16", "I", "F"])
    def test_a_deep_picture_never_exists_as_an_array(self, mode: str) -> None:
        """Of 8 megapixels no more than a strip is in Python's memory at a time."""
        picture = Image.new(mode, (4000, 2000))
        tracemalloc.start()

        flatten(picture)

        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak_bytes < 8_000_000
