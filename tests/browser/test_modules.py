"""What the page computes itself: colours, geometry, enlarged maps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import BrowserContext, Page

from service.images.contract import InputContract
from service.images.decode import DecodedImage
from service.images.preprocess import preprocess

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def loaded(context: BrowserContext, address: str) -> Iterator[Page]:
    """A page that can import the modules."""
    with context.new_page() as page:
        page.goto(f"{address}/")
        yield page


def call(page: Page, module: str, expression: str, argument: Any = None) -> Any:
    """Evaluate an expression over a module `m` of the page and an argument `a`."""
    script = (
        f"async (a) => {{ const m = await import('/static/{module}.js'); return {expression}; }}"
    )
    return page.evaluate(script, argument)


def lightness(ramp: list[int]) -> NDArray[np.float64]:
    """CIE L* of (256, 3) sRGB colours."""
    colours = np.array(ramp).reshape(-1, 3) / 255
    linear = np.where(colours > 0.04045, ((colours + 0.055) / 1.055) ** 2.4, colours / 12.92)
    luminance = linear @ np.array([0.2126, 0.7152, 0.0722])
    given: NDArray[np.float64] = 116 * np.cbrt(np.maximum(luminance, 0.008856)) - 16
    return given


def test_more_is_lighter_without_colour_vision(loaded: Page) -> None:
    """The lightness of the one map rises evenly, that of the other falls to both sides of 0."""
    rising = lightness(call(loaded, "colours", "[...m.SEQUENTIAL]"))
    signed = lightness(call(loaded, "colours", "[...m.DIVERGING]"))

    assert (np.diff(rising) > -0.2).all()  # rounding to whole bytes
    assert rising[-1] - rising[0] > 70
    assert abs(int(signed.argmax()) - 128) < 10
    assert max(signed[0], signed[-1]) < 40


@pytest.mark.parametrize(("fit", "shorter"), [("crop", 40), ("crop", 32), ("fit", None)])
@pytest.mark.parametrize("size", [(96, 64), (64, 96), (80, 80)])
def test_the_square_lies_where_the_model_looked(
    loaded: Page, fit: Any, shorter: int | None, size: tuple[int, int]
) -> None:
    """A dot in the original is found at its place in the model's pixels, up to one of them."""
    width, height = size
    contract = InputContract(size_px=32, fit=fit, shorter_side_px=shorter)
    image = np.zeros((height, width, 3), np.uint8)
    image[height // 2 - 10 : height // 2 - 6, width // 2 + 8 : width // 2 + 12] = 255
    whole = DecodedImage.whole(Image.fromarray(image))
    pixels = preprocess(whole, contract)[0].astype(float)
    row, column = (np.array(np.nonzero(pixels > pixels.max() / 2)).mean(axis=1) + 0.5) / 32

    square = call(loaded, "geometry", "m.squareOf(...a)", [contract.model_dump(), width, height])

    assert square["x"] + column * square["width"] == pytest.approx(width / 2 + 10, abs=2)
    assert square["y"] + row * square["height"] == pytest.approx(height / 2 - 8, abs=2)


def test_a_map_is_enlarged_between_the_middles_of_its_cells(loaded: Page) -> None:
    """Smoothed it is bilinear interpolation, else each point has its cell's number."""
    cells = {"height": 2, "width": 2, "numbers": [0, 1, 2, 3]}

    smooth = call(loaded, "maps", "[...m.enlarge(a, 4, 4, true)]", cells)
    plain = call(loaded, "maps", "[...m.enlarge(a, 4, 4, false)]", cells)

    across = np.array([0, 0.25, 0.75, 1])
    assert np.array(smooth).reshape(4, 4) == pytest.approx(across[None] + 2 * across[:, None])
    assert plain[:4] == [0, 0, 1, 1]
    assert plain[12:] == [2, 2, 3, 3]


@pytest.mark.parametrize(("largest", "limit"), [(0.3, 0.5), (16.6, 20), (7, 10), (2, 2)])
def test_the_fixed_limit_of_evidence_is_a_round_number(
    loaded: Page, largest: float, limit: float
) -> None:
    """1, 2 or 5 times a power of ten, no smaller than what is shown."""
    given = call(loaded, "scales", "m.commonLimit([{numbers: [1e-3, -a]}])", largest)

    assert given == pytest.approx(limit)


def test_a_map_that_goes_beyond_a_fixed_scale_is_said_to(loaded: Page) -> None:
    """Its colours cannot tell how far it goes."""
    shape = "{numbers: a, height: 1, width: 2}, {isFixed: true, isLong: true}"
    bar = f"m.scaleBar({{low: -1, high: 1, colours: new Uint8Array(768)}}, {shape}).innerText"

    said = call(loaded, "scalebar", bar, [-0.5, 3])

    assert "this map goes from \N{MINUS SIGN}0.500 to 3, beyond its ends." in said


@pytest.mark.parametrize(
    "query",
    [
        "?class=-1&opacity=x&scale=wide",
        "?group=all&kind=heat",
        "?a=b&smooth=",
        "?classes=0&groups=0&opacity=101",
        "",
    ],
)
def test_what_makes_no_sense_in_an_address_is_left_out(loaded: Page, query: str) -> None:
    """The view is the usual one then."""
    assert call(loaded, "view", "m.readView(a)", query) == call(loaded, "view", "m.readView('')")
