"""What is left out of a file before a decoder sees it, and what its metadata say all the same."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from service.errors import ImageTooLarge
from service.images.contract import ImageLimits
from service.images.formats import format_of
from service.images.strip.jpeg import MOST_SCANS
from service.images.strip.stripped import MOST_PARTS
from tests.hostile_images import GIF_DISPOSAL, jpeg_of_scans, png_with, segment, with_segments
from tests.sample_images import Picture, decode_whole, encode, gradient, orientation_exif, png_chunk

LIMITS = ImageLimits(encoded_bytes=16_000_000, pixels=1_000_000)
WIDE = gradient(16, 24)
JPEG = encode(WIDE, "JPEG")
LONG = encode(gradient(64, 64), "JPEG", progressive=True)
WEBP = encode(WIDE, "WEBP", lossless=True, exif=orientation_exif(1))
GIF = encode(WIDE, "GIF")
XMP = b'<rdf:Description tiff:Orientation="6"/>'


def as_pillow_reads(file: bytes) -> Picture:
    """The picture of a whole file, nothing left out."""
    return np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))


def between_scans(file: bytes, more: bytes) -> bytes:
    """A JPEG with something before its last scan."""
    last = file.rfind(b"\xff\xda")
    return file[:last] + more + file[last:]


def before_frame(more: bytes) -> bytes:
    """A GIF with something before its frame."""
    return GIF.replace(b",\0\0\0\0", more + b",\0\0\0\0", 1)


def frames(name: str, **options: object) -> bytes:
    """An animation or a document of two pages."""
    second = Image.new("RGB", (24, 16))
    return encode(WIDE, name, save_all=True, append_images=[second], **options)


ODD: dict[str, Callable[[], bytes]] = {
    "a JPEG with fill before its markers": lambda: JPEG.replace(b"\xff\xdb", b"\xff\xff\xff\xdb"),
    "a JPEG with rubbish between segments": lambda: with_segments(
        JPEG, segment(0xFE, b"a"), b"\0\1rubbish\xff\0more"
    ),
    "a JPEG with restarts": lambda: encode(gradient(64, 64), "JPEG", restart_marker_blocks=2),
    "a JPEG with segments between scans": lambda: between_scans(
        LONG, segment(0xE1, b"Exif\0\0x") + segment(0xFE, b"a comment")
    ),
    "a JPEG of its own number of lines": lambda: between_scans(LONG, segment(0xDC, b"\0\x40")),
    "a JPEG without its heading": lambda: JPEG[:2] + JPEG[20:],
    "a JPEG with a thumbnail": lambda: with_segments(JPEG, segment(0xE1, b"Exif\0\0" + JPEG)),
    "a JPEG of inks": lambda: encode(Image.fromarray(WIDE).convert("CMYK"), "JPEG"),
    "a JPEG with more behind it": lambda: JPEG + LONG,
    "a multi-picture JPEG": lambda: frames("MPO"),
    "an animated PNG": lambda: frames("PNG"),
    "a WebP of one chunk": lambda: encode(WIDE, "WEBP"),
    "a WebP with alpha": lambda: encode(Image.new("RGBA", (25, 17), (9, 8, 7, 99)), "WEBP"),
    "an animated WebP": lambda: frames("WEBP", lossless=True),
    "a WebP of odd chunks": lambda: WEBP.replace(b"EXIF", b"ODD ", 1),
    "an interlaced GIF": lambda: encode(WIDE, "GIF", interlace=1),
    "a GIF with comments first": lambda: before_frame(b"!\xfe\3abc\0"),
    "a GIF with zeros between blocks": lambda: before_frame(bytes(3)),
    "a GIF to be disposed of": lambda: before_frame(GIF_DISPOSAL),
    "an animated GIF": lambda: frames("GIF"),
    "a TIFF of two pages": lambda: frames("TIFF", compression="tiff_lzw"),
    "a BigTIFF": lambda: encode(WIDE, "TIFF", big_tiff=True),
    "a TIFF of planes of colour": lambda: encode(
        Image.fromarray(WIDE).convert("YCbCr"), "TIFF", compression="jpeg"
    ),
    "a TIFF of a palette": lambda: encode(Image.fromarray(WIDE).quantize(), "TIFF"),
    "a TIFF of bits": lambda: encode(
        Image.fromarray(WIDE).convert("1"), "TIFF", compression="group4"
    ),
    "a BMP of 16 colours": lambda: encode(Image.fromarray(WIDE).quantize(16), "BMP"),
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_file_shows_the_picture_that_it_shows_whole(name: str) -> None:
    """Whatever a format allows is walked through as decoders do."""
    file = ODD[name]()
    stripped = format_of(file).strip(file)

    np.testing.assert_array_equal(as_pillow_reads(stripped.content), as_pillow_reads(file))


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "GIF", "TIFF"])
def test_a_stripped_file_shows_the_same_picture(name: str) -> None:
    """Profile, comment and EXIF are gone from what decoders read, every pixel is there."""
    beside = {} if name == "GIF" else {"icc_profile": b"x" * 5000, "exif": orientation_exif(1)}
    file = encode(WIDE, name, comment=b"a comment", **beside)

    content = format_of(file).strip(file).content

    left = Image.open(io.BytesIO(content)).info.keys()
    assert left.isdisjoint({"icc_profile", "exif", "comment"})
    np.testing.assert_array_equal(
        decode_whole(content, LIMITS), decode_whole(encode(WIDE, name), LIMITS)
    )


class TestOrientation:
    """Of all metadata that alone is looked at."""

    @pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_it_is_read(self, name: str, orientation: int) -> None:
        """Of every format that has EXIF."""
        file = encode(WIDE, name, exif=orientation_exif(orientation))

        assert format_of(file).strip(file).orientation == orientation

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_an_avif_says_it_in_boxes_of_its_own(self, orientation: int) -> None:
        """Pillow writes EXIF's as these, and the picture is turned alike."""
        file = encode(WIDE, "AVIF", exif=orientation_exif(orientation), quality=100)
        png = encode(as_pillow_reads(file), "PNG", exif=orientation_exif(orientation))

        np.testing.assert_array_equal(decode_whole(file, LIMITS), decode_whole(png, LIMITS))

    @pytest.mark.parametrize(
        "chunk",
        [
            (b"eXIf", orientation_exif(6)),
            (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
            (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP)),
            (
                b"zTXt",
                b"Raw profile type exif\0\0"
                + zlib.compress(b"\nexif\n  40\n" + orientation_exif(6).hex().encode()),
            ),
        ],
        ids=["a chunk", "XMP", "packed XMP", "hexadecimal in a text"],
    )
    def test_a_png_may_say_it_in_many_ways(self, chunk: tuple[bytes, bytes]) -> None:
        """As cameras, Photoshop and ImageMagick write it."""
        file = png_with(chunk)

        assert format_of(file).strip(file).orientation == 6

    def test_exif_counts_before_xmp_and_the_first_before_others(self) -> None:
        """In whatever order they come."""
        xmp = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP)
        first, second = (segment(0xE1, orientation_exif(n)) for n in (3, 8))

        file = with_segments(JPEG, xmp, first, second)

        assert format_of(file).strip(file).orientation == 3


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (b"iCCP", b"x" * 100_000),
        (b"iCCP", b"a\0\0" + zlib.compress(bytes(5_000_000))),
        (b"zTXt", b"a\0\0" + b"rubbish"),
        (b"gAMA", b"too long for a number"),
        (b"pHYs", b""),
        (b"eXIf", b"MM\0*\0\0\0\x08\xff\xff"),
        (b"acTL", b"\xff" * 8),
        (b"\xffbad", b"a"),
    ],
)
def test_a_sound_picture_with_a_damaged_ancillary_chunk_is_answered(
    name: bytes, content: bytes
) -> None:
    """The pixels are whole, so nothing else counts."""
    decoded = decode_whole(png_with((name, content)), LIMITS)

    np.testing.assert_array_equal(decoded, np.zeros((8, 8, 3), np.uint8))


def test_a_wrong_checksum_of_what_is_beside_the_pixels_is_nothing() -> None:
    """Of a text, here; one of the pixels is a damaged picture still."""
    assert decode_whole(png_with((b"tEXt", b"a\0b"), checksum=1), LIMITS).shape == (8, 8, 3)


def test_a_bmp_whose_alpha_is_0_everywhere_is_opaque() -> None:
    """Programs that know no alpha leave its byte 0; the picture was blank otherwise."""
    head = struct.pack("<2sIIIIiiHHIIiiII", b"BM", 0, 0, 138, 124, 2, 1, 1, 32, 3, 0, 0, 0, 0, 0)
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)

    decoded = decode_whole((head + masks).ljust(138, b"\0") + b"\1\2\3\0\4\5\6\0", LIMITS)

    np.testing.assert_array_equal(decoded, np.array([[[3, 2, 1], [6, 5, 4]]], np.uint8))


def test_a_jpeg_of_very_many_scans_is_refused_before_it_is_decoded() -> None:
    """Each scan goes over the whole picture; the limit is told."""
    with pytest.raises(ImageTooLarge, match=f"over {MOST_SCANS} scans, the limit at 0.0 megapix"):
        decode_whole(jpeg_of_scans(20_000), LIMITS)


def test_an_ordinary_progressive_jpeg_is_not() -> None:
    """Encoders write up to a dozen."""
    assert decode_whole(jpeg_of_scans(20), LIMITS).shape == (64, 64, 3)


def test_a_file_of_very_many_parts_is_refused() -> None:
    """A few are skipped, a million are not walked through."""
    text = png_chunk(b"tEXt", b"a\0b")
    file = png_with()

    assert decode_whole(file[:33] + text * 1000 + file[33:], LIMITS).shape == (8, 8, 3)
    with pytest.raises(ImageTooLarge, match=f"over {MOST_PARTS} parts"):
        decode_whole(file[:33] + text * (MOST_PARTS + 1) + file[33:], LIMITS)
