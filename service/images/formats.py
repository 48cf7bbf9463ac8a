"""An image's bytes -> the Pillow class that reads their format, which the first bytes tell."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from service.errors import UndecodableImage, UnsupportedFormat
from service.images.strip import (
    Strip,
    strip_gif,
    strip_jpeg,
    strip_nothing,
    strip_png,
    strip_webp,
)

ACCEPTED = "JPEG, PNG, WebP, GIF, BMP and TIFF"


class _Jpeg(JpegImageFile):
    """A JPEG, or the first of a multi-picture file."""

    def draft(
        self, mode: str | None, size: tuple[int, int] | None
    ) -> tuple[str, tuple[int, int, float, float]] | None:
        """Scale while decoding, but not a lossless JPEG: it has no DCT and so no quantization."""
        return super().draft(mode, size) if self.quantization else None


@dataclass(frozen=True, slots=True)
class Format:
    """A format, the bytes by which it is known and, where it is accepted, what reads it.

    Attributes:
        strip: leaves out what is beside the pixels.
    """

    name: str
    magic: tuple[bytes, ...]
    offset: int = 0
    reader: type[ImageFile] | None = None
    strip: Strip = strip_nothing

    def open(self, content: bytes) -> ImageFile:
        """Read a file's header.

        Raises:
            UnsupportedFormat: the format is not accepted.
        """
        if self.reader is None:
            raise UnsupportedFormat(f"image is {self.name}, accepted are {ACCEPTED}")
        return self.reader(BytesIO(content))


_FORMATS = (
    Format("JPEG", (b"\xff\xd8\xff",), reader=_Jpeg, strip=strip_jpeg),
    Format("PNG", (b"\x89PNG\r\n\x1a\n",), reader=PngImageFile, strip=strip_png),
    Format("WebP", (b"WEBP",), 8, reader=WebPImageFile, strip=strip_webp),
    Format("GIF", (b"GIF87a", b"GIF89a"), reader=GifImageFile, strip=strip_gif),
    Format("BMP", (b"BM",), reader=BmpImageFile),
    Format("TIFF", (b"II*\0", b"MM\0*"), reader=TiffImageFile),
    Format("BigTIFF", (b"II+\0", b"MM\0+"), reader=TiffImageFile),
    Format("AVIF", (b"ftypavif", b"ftypavis"), 4),
    Format("HEIC", (b"ftyphei", b"ftyphev", b"ftypmif1", b"ftypmsf1"), 4),
    Format("JPEG XL", (b"\xff\x0a", b"\0\0\0\x0cJXL ")),
    Format("JPEG 2000", (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")),
    Format("SVG", (b"<svg", b"<?xml", b"<!DOCTYPE svg")),
    Format("PDF", (b"%PDF-",)),
    Format("PSD", (b"8BPS",)),
    Format("ICO", (b"\0\0\1\0",)),
    Format("OpenEXR", (b"v/1\x01",)),
    Format("DDS", (b"DDS ",)),
    Format("QOI", (b"qoif",)),
    Format("PNM", tuple(b"P%d\n" % digit for digit in range(1, 8))),
)


def format_of(data: bytes) -> Format:
    """Find the format of an image, which its reader opens.

    The readers are called directly: `Image.open` would put its own pixel limit, one for the whole
    process, before the service's.

    Raises:
        UndecodableImage: no known image.
    """
    for known in _FORMATS:
        if data.startswith(known.magic, known.offset):
            return known
    raise UndecodableImage(f"the {len(data)} bytes are not an image, accepted are {ACCEPTED}")
