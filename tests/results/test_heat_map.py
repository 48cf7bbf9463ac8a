"""Drawing planes of numbers."""

from __future__ import annotations

import io
from collections.abc import Iterable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.results.heat_map import draw_grey, draw_overlays
from tests.sample_images import gradient, noise, solid

GREY = solid((128, 128, 128), 40, 60).transpose(2, 0, 1)
RAMP = np.linspace(0, 1, 60, dtype=np.float32)[None, None]  # one row of rising heat


def read(files: Iterable[bytes]) -> list[NDArray[np.uint8]]:
    """The pixels of PNG files."""
    return [np.asarray(Image.open(io.BytesIO(file), formats=["PNG"])) for file in files]


def test_grey_levels_are_drawn_from_black_to_white() -> None:
    """One picture per plane, a pixel per number; what lies outside is clipped."""
    levels = np.array([[[0, 1, 0.5]], [[-2, 7, 0.2]]], np.float32)

    first, second = read(draw_grey(levels))

    np.testing.assert_array_equal(first, np.array([[0, 255, 128]], np.uint8), strict=True)
    np.testing.assert_array_equal(second, np.array([[0, 255, 51]], np.uint8), strict=True)


@pytest.mark.parametrize("value", [0.0, 0.731, -4.0])
def test_a_plane_of_one_number_leaves_the_image_as_it_is(value: float) -> None:
    """Without a difference between positions there is nothing to show."""
    image = noise(40, 60)

    (overlay,) = read(
        draw_overlays(np.full((1, 3, 4), value, np.float32), image.transpose(2, 0, 1))
    )

    np.testing.assert_array_equal(overlay, image)


def test_rounding_is_no_pattern() -> None:
    """A last bit of float32 that differs does not light up."""
    plane = np.full((1, 2, 2), 0.731, np.float32)
    plane[0, 0, 0] = np.nextafter(plane[0, 0, 0], np.float32(1))

    (overlay,) = read(draw_overlays(plane, GREY))

    np.testing.assert_array_equal(overlay, GREY.transpose(1, 2, 0))


def test_heat_is_strongest_where_the_number_is_largest() -> None:
    """The coldest place shows the image alone, the hottest a pale yellow over 30 % of it."""
    (overlay,) = read(draw_overlays(RAMP, GREY))

    np.testing.assert_allclose(overlay[:, 0], GREY.transpose(1, 2, 0)[:, 0], atol=1)
    hottest = 0.7 * np.array([252, 255, 164]) + 0.3 * 128
    np.testing.assert_allclose(overlay[:, -1], np.tile(hottest, (40, 1)), atol=2)


def test_more_heat_is_lighter_on_a_black_image() -> None:
    """The ramp can be read without seeing colours."""
    (overlay,) = read(draw_overlays(RAMP, np.zeros_like(GREY)))

    luma = overlay[0] @ np.array([0.299, 0.587, 0.114])
    assert (np.diff(luma) >= 0).all()
    assert luma[-1] > 150


def test_planes_are_stretched_each_over_its_own_range() -> None:
    """Scale and offset of a plane do not show."""
    plane = np.random.default_rng(0).random((1, 5, 5), np.float32)

    first, second = read(draw_overlays(np.concatenate([plane, 8 * plane - 3]), GREY))

    np.testing.assert_array_equal(first, second)


def test_the_image_stays_recognisable() -> None:
    """Where it is hottest, 30 % of the image's contrast is left."""
    pixels = gradient(40, 60).transpose(2, 0, 1)

    (overlay,) = read(draw_overlays(RAMP, pixels))

    hot = overlay[:, -3:, 0].astype(float)  # the red channel rises from 0 to 255 downwards
    assert hot[-1].mean() - hot[0].mean() == pytest.approx(0.3 * 255, abs=5)


def test_an_overlay_has_the_size_of_the_pixels() -> None:
    """Planes of any shape are scaled to the image."""
    overlays = read(draw_overlays(np.random.default_rng(0).random((3, 2, 7), np.float32), GREY))

    assert [overlay.shape for overlay in overlays] == [(40, 60, 3)] * 3
