"""An image's bytes -> the Pillow class that reads their format, which the first bytes tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO, cast

from PIL import _avif
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from service.errors import UndecodableImage, UnsupportedFormat
from service.images.strip.avif import strip_avif
from service.images.strip.bmp import strip_bmp
from service.images.strip.gif import strip_gif
from service.images.strip.jpeg import strip_jpeg
from service.images.strip.png import strip_png
from service.images.strip.stripped import Stripped
from service.images.strip.tiff import strip_tiff
from service.images.strip.webp import strip_webp, webp_size

ACCEPTED = "JPEG, PNG, WebP, AVIF, GIF, BMP and TIFF"
PICTURE_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("jpg", "jpeg", "jpe", "jfif", "png", "webp", "avif", "gif", "bmp", "dib", "tif", "tiff"),
        *("heic", "heif", "jxl", "jp2"),  # not accepted, which is to be said of each
    )
)
"""How names of pictures end; only folders are searched by it, a format is told by content."""


class _Jpeg(JpegImageFile):
    """A JPEG, or the first of a multi-picture file."""

    def draft(
        self, mode: str | None, size: tuple[int, int] | None
    ) -> tuple[str, tuple[int, int, float, float]] | None:
        """Scale while decoding, but not a lossless JPEG: it has no DCT and so no quantization."""
        return super().draft(mode, size) if self.quantization else None


class _WebP(WebPImageFile):
    """A WebP that its decoder sees when it is loaded: that takes memory as soon as it does."""

    def _open(self) -> None:
        self._size = webp_size(cast("BinaryIO", self.fp).read(30))
        self._mode = "RGBA"

    def load(self) -> Any:
        if self._im is None:
            cast("BinaryIO", self.fp).seek(0)
            super()._open()
        return super().load()


class Avif(AvifImageFile):
    """An AVIF, read on one thread, without a look at its metadata.

    Attributes:
        orientation: as EXIF counts them; the file says it in boxes of its own.
    """

    orientation = 1

    def _open(self) -> None:
        content = cast("BinaryIO", self.fp).read()
        self._decoder = _avif.AvifDecoder(content, "auto", 1)
        self._size, self.n_frames, self._mode, _, _, self.orientation, _ = self._decoder.get_info()
        self.is_animated = False
        self.seek(0)


@dataclass(frozen=True, slots=True)
class Format:
    """A format, the bytes by which it is known and, where it is accepted, what reads it.

    Attributes:
        strip: leaves out what is beside the pixels, of an accepted format.
    """

    name: str
    magic: tuple[bytes, ...]
    offset: int = 0
    reader: type[ImageFile] | None = None
    strip: Callable[[bytes], Stripped] = Stripped

    def open(self, content: bytes) -> ImageFile:
        """Read a file's header.

        Raises:
            UnsupportedFormat: the format is not accepted.
        """
        if self.reader is None:
            raise UnsupportedFormat(f"image is {self.name}, accepted are {ACCEPTED}")
        return self.reader(BytesIO(content))


_GENERAL_BRANDS = (b"ftypmif1", b"ftypmsf1")  # of HEIF, whose codec is said later
_AVIF = Format("AVIF", (b"ftypavif", b"ftypavis"), 4, reader=Avif, strip=strip_avif)
_FORMATS = (
    Format("JPEG", (b"\xff\xd8\xff",), reader=_Jpeg, strip=strip_jpeg),
    Format("PNG", (b"\x89PNG\r\n\x1a\n",), reader=PngImageFile, strip=strip_png),
    Format("WebP", (b"WEBP",), 8, reader=_WebP, strip=strip_webp),
    Format("GIF", (b"GIF87a", b"GIF89a"), reader=GifImageFile, strip=strip_gif),
    Format("BMP", (b"BM",), reader=BmpImageFile, strip=strip_bmp),
    Format("TIFF", (b"II*\0", b"MM\0*"), reader=TiffImageFile, strip=strip_tiff),
    Format("BigTIFF", (b"II+\0", b"MM\0+"), reader=TiffImageFile, strip=strip_tiff),
    _AVIF,
    Format("HEIC", (b"ftyphei", b"ftyphev", *_GENERAL_BRANDS), 4),
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
    if data.startswith(_GENERAL_BRANDS, 4) and b"avif" in data[16 : int.from_bytes(data[:4])]:
        return _AVIF
    for known in _FORMATS:
        if data.startswith(known.magic, known.offset):
            return known
    raise UndecodableImage(f"the {len(data)} bytes are not an image, accepted are {ACCEPTED}")
