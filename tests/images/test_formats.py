"""Telling a picture's format from its first bytes."""

from __future__ import annotations

import pytest
from PIL.TiffImagePlugin import TiffImageFile

from service.errors import UndecodableImage, UnsupportedFormat
from service.images.formats import format_of
from tests.sample_images import encode, solid

WHITE = solid((255, 255, 255))


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF"])
def test_an_accepted_format_is_known_by_its_content(name: str) -> None:
    """Nothing but the bytes themselves decides who reads them."""
    content = encode(WHITE, name)

    assert format_of(content).open(content).format == name


@pytest.mark.parametrize(
    "data", [encode(WHITE, "TIFF", big_tiff=True), b"MM\0*", b"II+\0", b"MM\0+"]
)
def test_every_kind_of_tiff_is_known(data: bytes) -> None:
    """Either byte order, and BigTIFF."""
    reader = format_of(data).reader

    assert reader is TiffImageFile


def test_an_avif_is_known_among_files_of_its_family() -> None:
    """HEIF's general brands say nothing of the codec; the further brands do."""
    content = encode(WHITE, "AVIF").replace(b"ftypavif", b"ftypmif1", 1)

    assert format_of(content).name == "AVIF"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"<?xml version='1.0'?><svg/>", "SVG"),
        (b"%PDF-1.7\n", "PDF"),
        (b"8BPS\0\x01", "PSD"),
        (b"\0\0\x01\0\x01\0", "ICO"),
        (b"\0\0\0\x1cftypheic\0\0\0\0", "HEIC"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0", "HEIC"),
        (b"\xff\x0a\0\0", "JPEG XL"),
        (b"v/1\x01", "OpenEXR"),
        (encode(WHITE, "JPEG2000"), "JPEG 2000"),
        (encode(WHITE, "PPM"), "PNM"),
        (encode(WHITE, "DDS"), "DDS"),
        (encode(WHITE, "QOI"), "QOI"),
    ],
)
def test_a_format_that_is_not_accepted_is_named(data: bytes, name: str) -> None:
    """The message says what the picture is, and what would be accepted."""
    with pytest.raises(UnsupportedFormat) as refusal:
        format_of(data).open(data)

    accepted = "JPEG, PNG, WebP, AVIF, GIF, BMP and TIFF"
    assert refusal.value.message == f"image is {name}, accepted are {accepted}"


@pytest.mark.parametrize("data", [b"", b"hello", b"RIFF\0\0\0\0WAVEfmt ", b"\0\0\0\x1cftypisom"])
def test_other_bytes_are_no_image(data: bytes) -> None:
    """Nothing, text, sound and video."""
    with pytest.raises(UndecodableImage, match=rf"^the {len(data)} bytes are not an image"):
        format_of(data)
