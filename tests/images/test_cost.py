"""Memory that decoding takes, told from the header before any of it is taken."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from service.errors import ImageTooLarge
from service.images.decode import decode
from tests.decode_probe import LIMITS, Probe, probing
from tests.hostile_images import deep_png, flat, tiff_of_one_tile
from tests.sample_images import encode, gradient, noise, orientation_exif

MEGA = 1_000_000
SLACK = 2_500_000  # bytes of what interpreter and libraries take beside, whatever the picture
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I", "I;16", "F")
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "JPEG": [
        {},
        {"progressive": True},
        {"progressive": True, "subsampling": "4:4:4"},
        {"exif": orientation_exif(6)},
    ],
    "PNG": [{}, {"transparency": 0}, {"exif": orientation_exif(6)}],
    "WEBP": [{}, {"lossless": True}, {"exif": orientation_exif(6)}],
    "AVIF": [{"speed": 10}, {"speed": 10, "subsampling": "4:4:4"}],
    "GIF": [{}, {"transparency": 0}],
    "BMP": [{}],
    "TIFF": [
        {"compression": kind}
        for kind in (
            *("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group4"),
            *("zstd", "webp", "lzma"),
        )
    ],
}
SHAPES = ((1200, 900), (40_000, 60), (60, 40_000))


def writable() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every kind of picture that Pillow writes here: format, mode, and how."""
    for name, ways in OPTIONS.items():
        for mode in MODES:
            for options in ways:
                if _is_written(name, mode, options):
                    yield name, mode, options


def _is_written(name: str, mode: str, options: dict[str, Any]) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return bool(flat(name, mode, 8, 8, **options))
        except (OSError, ValueError, RuntimeError, KeyError, TypeError):
            return False


def busy(mode: str, width: int, height: int) -> Image.Image:
    """A picture with something to decode in every part of it."""
    small = Image.fromarray(noise(max(1, height // 8), max(1, width // 8)))
    picture = small.resize((width, height), Image.Resampling.NEAREST)
    return Image.new(mode, (width, height)) if mode in ("I;16", "LAB") else picture.convert(mode)


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Probe]:
    """A process that measures."""
    with probing(tmp_path_factory.mktemp("probe")) as probe:
        yield probe


@pytest.mark.parametrize(("name", "mode", "options"), list(writable()))
def test_no_kind_of_picture_takes_more_than_its_header_tells(
    name: str, mode: str, options: dict[str, Any], probe: Probe
) -> None:
    """Every format, mode and compression that Pillow writes, a megapixel large."""
    cost = probe.measure(encode(busy(mode, *SHAPES[0]), name, **options))

    assert cost.code == ""
    assert cost.peak_bytes <= cost.estimate_bytes + SLACK


@pytest.mark.parametrize("name", ["JPEG", "PNG", "AVIF", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("shape", SHAPES[1:])
def test_long_rows_and_many_rows_are_counted(
    name: str, shape: tuple[int, int], probe: Probe
) -> None:
    """A row has an address, and decoders hold some rows; AVIF only comes so large by tiles."""
    side = 16_000 if name == "AVIF" else 40_000
    width, height = (min(length, side) for length in shape)

    cost = probe.measure(encode(busy("RGB", width, height), name))

    assert cost.code == ""
    assert cost.peak_bytes <= cost.estimate_bytes + SLACK


def cost_of(file: bytes) -> list[int]:
    """What decoding a file reserves."""
    reserved: list[int] = []
    decode(file, LIMITS, reserve=reserved.append)
    return reserved


@pytest.mark.parametrize(
    "file",
    [flat("WEBP", "RGB", 6500, 6150, lossless=True), deep_png(), tiff_of_one_tile(9000, 16_000)],
    ids=["a WebP of 38 bytes", "a PNG of 16 bits", "a TIFF of one tile"],
)
def test_a_small_file_that_takes_much_memory_is_refused_by_its_header(file: bytes) -> None:
    """Nothing is reserved and nothing is decoded."""
    reserved: list[int] = []

    with pytest.raises(ImageTooLarge):
        decode(file, LIMITS, reserve=reserved.append)

    assert reserved == []


def test_the_refusal_gives_what_it_takes_and_the_limit() -> None:
    """Whoever sends it learns by how much it is too large."""
    with pytest.raises(ImageTooLarge, match=r"takes \d+ MB of memory to decode, the limit is 288"):
        decode(deep_png(), LIMITS)


@pytest.mark.parametrize(
    ("mode", "name", "bytes_a_pixel"),
    [
        ("RGB", "PNG", 4),
        ("L", "PNG", 1),
        ("RGBA", "PNG", 8),
        ("LA", "PNG", 12),
        ("CMYK", "JPEG", 8),
        ("RGB", "WEBP", 20),
    ],
)
def test_memory_is_reserved_by_what_a_pixel_takes(mode: str, name: str, bytes_a_pixel: int) -> None:
    """As Pillow stores it, with what flattening and the decoder add."""
    (reserved,) = cost_of(flat(name, mode, 2000, 2000))

    assert reserved == pytest.approx(bytes_a_pixel * 4 * MEGA, rel=0.35)


def test_a_turned_picture_takes_a_copy_more() -> None:
    """While it is turned, both are there."""
    upright, turned = (
        cost_of(encode(gradient(1000, 1000), "PNG", exif=orientation_exif(orientation)))[0]
        for orientation in (1, 6)
    )

    assert turned - upright == pytest.approx(4 * MEGA, rel=0.01)
