"""An image's bytes -> the Pillow class that reads their format, which the first bytes tell."""

from __future__ import annotations

from dataclasses import dataclass

from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from service.errors import UndecodableImage, UnsupportedFormat

ACCEPTED = "JPEG, PNG, WebP, GIF, BMP and TIFF"


class _Jpeg(JpegImageFile):
    """A JPEG, or the first of a multi-picture file.

    EXIF is read for the orientation only: some damaged resolutions make Pillow refuse the file.
    """

    def _read_dpi_from_exif(self) -> None:
        return

    def draft(
        self, mode: str | None, size: tuple[int, int] | None
    ) -> tuple[str, tuple[int, int, float, float]] | None:
        """Scale while decoding, but not a lossless JPEG: it has no DCT and so no quantization."""
        return super().draft(mode, size) if self.quantization else None


@dataclass(frozen=True, slots=True)
class _Format:
    """A format, the bytes by which it is known and, where it is accepted, what reads it."""

    name: str
    magic: tuple[bytes, ...]
    offset: int = 0
    reader: type[ImageFile] | None = None


_FORMATS = (
    _Format("JPEG", (b"\xff\xd8\xff",), reader=_Jpeg),
    _Format("PNG", (b"\x89PNG\r\n\x1a\n",), reader=PngImageFile),
    _Format("WebP", (b"WEBP",), 8, reader=WebPImageFile),
    _Format("GIF", (b"GIF87a", b"GIF89a"), reader=GifImageFile),
    _Format("BMP", (b"BM",), reader=BmpImageFile),
    _Format("TIFF", (b"II*\0", b"MM\0*"), reader=TiffImageFile),
    _Format("BigTIFF", (b"II+\0", b"MM\0+"), reader=TiffImageFile),
    _Format("AVIF", (b"ftypavif", b"ftypavis"), 4),
    _Format("HEIC", (b"ftyphei", b"ftyphev", b"ftypmif1", b"ftypmsf1"), 4),
    _Format("JPEG XL", (b"\xff\x0a", b"\0\0\0\x0cJXL ")),
    _Format("JPEG 2000", (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")),
    _Format("SVG", (b"<svg", b"<?xml", b"<!DOCTYPE svg")),
    _Format("PDF", (b"%PDF-",)),
    _Format("PSD", (b"8BPS",)),
    _Format("ICO", (b"\0\0\1\0",)),
    _Format("OpenEXR", (b"v/1\x01",)),
    _Format("DDS", (b"DDS ",)),
    _Format("QOI", (b"qoif",)),
    _Format("PNM", tuple(b"P%d\n" % digit for digit in range(1, 8))),
)


def reader_of(data: bytes) -> type[ImageFile]:
    """Find what opens an image.

    The readers are called directly: `Image.open` would put its own pixel limit, one for the whole
    process, before the service's.

    Raises:
        UnsupportedFormat: an image of a known format that is not accepted.
        UndecodableImage: no known image.
    """
    for known in _FORMATS:
        if data.startswith(known.magic, known.offset):
            if known.reader is None:
                raise UnsupportedFormat(f"image is {known.name}, accepted are {ACCEPTED}")
            return known.reader
    raise UndecodableImage(f"the {len(data)} bytes are not an image, accepted are {ACCEPTED}")
