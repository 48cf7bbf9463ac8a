"""Images that are legal, small, and as dear to decode as anybody could make them; made in code."""

from __future__ import annotations

import lzma
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from PIL import Image

from tests.sample_images import encode, noise, png, png_chunk

EXIF_WITH_MANY_TAGS = b"II*\0\x08\0\0\0\xff\xff" + bytes(12) * 5000
GIF_DISPOSAL = b"!\xf9\x04\x08\0\0\0\0"  # its frame is to be replaced by the background
LZMA = 34_925  # by which a TIFF says how it is compressed

Tags = Mapping[int, tuple[int, Sequence[int]]]
"""Of a TIFF: the kind of the values (3: short, 4: long), and these."""


def segment(marker: int, content: bytes) -> bytes:
    """A segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def with_segments(file: bytes, *segments: bytes) -> bytes:
    """A JPEG with more segments right behind its beginning."""
    return file[:2] + b"".join(segments) + file[2:]


def jpeg_of_scans(scans: int, side: int = 64, subsampling: str = "4:2:0") -> bytes:
    """A progressive JPEG whose last scan comes again and again: so many in all."""
    file = flat("JPEG", "RGB", side, side, progressive=True, subsampling=subsampling)
    last = file.rfind(b"\xff\xda")
    more = scans - file.count(b"\xff\xda")
    return file[:-2] + file[last:-2] * more + b"\xff\xd9"


def jpeg_of_hidden_scans(cover: bytes) -> bytes:
    """A JPEG whose scans lie where a reader that trusts the cover's length does not look."""
    file = jpeg_of_scans(20, 400)
    scans = file[file.rfind(b"\xff\xda") : -2] * 2000
    return file[:-2] + cover + b"\xff\xff" + scans[:65_533] + b"\xff\xd9"


def png_with(*chunks: tuple[bytes, bytes], checksum: int | None = None, side: int = 8) -> bytes:
    """A PNG with more chunks behind its header, the last one's checksum as given."""
    file = flat("PNG", "RGB", side, side)
    more = b"".join(png_chunk(*chunk) for chunk in chunks)
    if checksum is not None:
        more = more[:-4] + struct.pack(">I", checksum)
    return file[:33] + more + file[33:]


def deep_png(width: int = 6500, height: int = 6150) -> bytes:
    """A black PNG of four channels of 16 bits."""
    rows, line = zlib.compressobj(1), bytes(1 + 8 * width)
    content = b"".join(rows.compress(line) for _ in range(height)) + rows.flush()
    header = struct.pack(">IIBBBBB", width, height, 16, 6, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", content), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def tiff(tags: Tags, content: bytes = b"") -> bytes:
    """A TIFF of tags, and of a content that begins at byte 8."""
    directory = 8 + len(content) + len(content) % 2
    beside = directory + 2 + 12 * len(tags) + 4
    entries, values = b"", b""
    for number, (kind, listed) in sorted(tags.items()):
        raw = np.array(listed, "<u2" if kind == 3 else "<u4").tobytes()
        place = raw.ljust(4, b"\0") if len(raw) <= 4 else struct.pack("<I", beside + len(values))
        entries += struct.pack("<HHI", number, kind, len(listed)) + place
        values += b"" if len(raw) <= 4 else raw
    head = b"II*\0" + struct.pack("<I", directory) + content.ljust(directory - 8, b"\0")
    return head + struct.pack("<H", len(tags)) + entries + bytes(4) + values


def grey_tags(width: int, height: int, compression: int = 1) -> Tags:
    """The tags of a TIFF of 8-bit grey, without where its pixels are."""
    shorts = {258: 8, 259: compression, 262: 1, 277: 1}
    return {256: (4, [width]), 257: (4, [height]), **{n: (3, [v]) for n, v in shorts.items()}}


def tiff_of_one_tile(side: int, tile: int, compression: int = 8) -> bytes:
    """A TIFF whose only tile is of another size than the picture; of it 16 MB are there."""
    pack = lzma.compress if compression == LZMA else zlib.compress
    content = pack(bytes(min(tile * tile, 4096 * 4096)))
    place = {322: tile, 323: tile, 324: 8, 325: len(content)}
    longs = {n: (4, [v]) for n, v in place.items()}
    return tiff({**grey_tags(side, side, compression), **longs}, content)


def tiff_of_strips(strips: int, width: int = 64) -> bytes:
    """A TIFF of strips of a row each, all of them the same bytes."""
    places: Tags = {278: (4, [1]), 273: (4, [8] * strips), 279: (4, [width] * strips)}
    return tiff({**grey_tags(width, strips), **places}, bytes(70_000))


def tiff_of_tags(tags: int) -> bytes:
    """A BigTIFF of many tags that mean nothing."""
    entries = b"".join(struct.pack("<HHQQ", 1000 + n % 60_000, 3, 1, 1) for n in range(tags))
    return b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, tags) + entries + bytes(8)


def gif(width: int, height: int, frame: tuple[int, int], before: bytes = b"") -> bytes:
    """A GIF of one frame that may be larger than the picture, its pixels missing."""
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0)
    return head + before + b"," + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\x08\x01\0\0;"


def bmp_of_runs(width: int, height: int, runs: bytes) -> bytes:
    """A BMP of 8 bits in colours, compressed by runs."""
    palette = b"".join(bytes([grey, 255 - grey, grey, 0]) for grey in range(256))
    offset = 54 + len(palette)
    head = struct.pack("<2sIII", b"BM", offset + len(runs), 0, offset)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(runs), 0, 0, 256, 0)
    return head + info + palette + runs


def bmp_of_one_row(width: int) -> bytes:
    """A BMP of 24 bits whose only row is longer than a block that is read at once."""
    head = struct.pack("<2sIII", b"BM", 54 + 3 * width, 0, 54)
    info = struct.pack("<IiiHHIIiiII", 40, width, 1, 1, 24, 0, 0, 0, 0, 0, 0)
    return head + info + bytes(3 * width)


def flat(name: str, mode: str, width: int, height: int, **options: object) -> bytes:
    """A file of one colour, black."""
    return encode(Image.new(mode, (width, height)), name, **options)


def fine(name: str, width: int, height: int, **options: object) -> bytes:
    """A file of squares of noise, which is quick to make and has something to decode."""
    small = Image.fromarray(noise(height // 8, width // 8))
    return encode(small.resize((width, height), Image.Resampling.NEAREST), name, **options)


_SMALL = flat("JPEG", "RGB", 64, 64)
_JFIF = segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")
_TABLES = segment(0xDB, (b"\0" + b"\1" * 64) * 1000)
_EXIF = segment(0xE1, b"Exif\0\0" + EXIF_WITH_MANY_TAGS)
_A_ROW = b"\1\5" * 1000 + b"\0\0"  # in runs of a pixel
_PACKED_XMP = (b"zTXt", b"XML:com.adobe.xmp\0\0" + zlib.compress(bytes(150_000)))

REFUSED: dict[str, Callable[[], bytes]] = {
    "a JPEG of 20,000 scans": lambda: jpeg_of_scans(20_000, 2000),
    "a large JPEG of 100 scans": lambda: jpeg_of_scans(100, 6300),
    "a JPEG of 240 times 1,000 tables": lambda: with_segments(_SMALL, *[_TABLES] * 240),
    "a JPEG of 95,000 headings": lambda: with_segments(_SMALL, *[_JFIF] * 95_000),
    "scans behind a stuffed byte": lambda: jpeg_of_hidden_scans(b"\xff\0"),
    "scans behind a reserved marker": lambda: jpeg_of_hidden_scans(b"\xff\x02"),
    "a progressive JPEG of four inks": lambda: flat(
        "JPEG", "CMYK", 6300, 6300, progressive=True, subsampling="4:4:4"
    ),
    "a PNG of 16 bits and 40 megapixels": deep_png,
    "a PNG of a million texts": lambda: png_with(*[(b"tEXt", b"a\0b")] * 1_000_000),
    "a PNG one pixel wide": lambda: png(
        1, 23_000_000, depth=8, colour_type=0, IDAT=bytes(46_000_000)
    ),
    "a PNG one pixel high": lambda: deep_png(20_000_000, 1),
    "a WebP of 40 megapixels": lambda: flat("WEBP", "RGB", 6500, 6150, lossless=True),
    "a WebP of 176 megapixels": lambda: flat("WEBP", "RGB", 16_000, 11_000, lossless=True),
    "a GIF of 1.9 million controls": lambda: gif(100, 100, (100, 100), GIF_DISPOSAL * 1_900_000),
    "a GIF whose frame is larger than it": lambda: gif(100, 100, (13_000, 13_000), GIF_DISPOSAL),
    "a BMP of 7 million runs": lambda: bmp_of_runs(6000, 6000, b"\1\5" * 7_000_000),
    "a BMP of one run in a long row": lambda: bmp_of_runs(20_000_000, 2, b"\1\5\0\0"),
    "a TIFF of one huge tile": lambda: tiff_of_one_tile(64, 40_000),
    "a TIFF of one large tile": lambda: tiff_of_one_tile(64, 15_000, LZMA),
    "a TIFF of 100,000 strips": lambda: tiff_of_strips(100_000),
    "a BigTIFF of 790,000 tags": lambda: tiff_of_tags(790_000),
}
ANSWERED: dict[str, Callable[[], bytes]] = {
    "a JPEG of 20 scans at 40 megapixels": lambda: jpeg_of_scans(20, 6300, "4:4:4"),
    "a JPEG of 80 scans at 10 megapixels": lambda: jpeg_of_scans(80, 3160, "4:4:4"),
    "a JPEG of 250 large EXIF blocks": lambda: with_segments(_SMALL, *[_EXIF] * 250),
    "a JPEG of 60,000 EXIF blocks": lambda: with_segments(
        _SMALL, *[segment(0xE1, b"Exif\0\0abcd")] * 60_000
    ),
    "a JPEG of 60,000 comments": lambda: with_segments(_SMALL, *[segment(0xFE, b"a")] * 60_000),
    "a JPEG with EXIF in a reserved marker": lambda: with_segments(
        _SMALL, *[segment(0xF0, segment(0xE1, b"Exif\0\0abcd") * 4600)] * 200
    ),
    "a JPEG of long rows": lambda: flat("JPEG", "RGB", 65_500, 600),
    "a JPEG of many rows": lambda: flat("JPEG", "RGB", 600, 65_500),
    "a PNG of 60,000 texts": lambda: png_with(*[(b"tEXt", b"a\0b")] * 60_000),
    "a PNG of 60,000 packed texts": lambda: png_with(*[_PACKED_XMP] * 60_000),
    "a PNG of a long text for EXIF": lambda: png_with(
        (b"tEXt", b"Raw profile type exif\0\nexif\n 1\n" + b"00" * 7_900_000)
    ),
    "a PNG of 40 megapixels": lambda: flat("PNG", "RGB", 6500, 6150),
    "a PNG of 16 bits and 20 megapixels": lambda: deep_png(4500, 4500),
    "a PNG of noise": lambda: encode(noise(2300, 2300), "PNG"),
    "a GIF of 40 megapixels": lambda: flat("GIF", "P", 6500, 6150),
    "a WebP of 12 megapixels": lambda: fine("WEBP", 3440, 3440),
    "a WebP of noise": lambda: encode(noise(2000, 2000), "WEBP", quality=60),
    "an AVIF of 16 megapixels": lambda: fine("AVIF", 4000, 4000, speed=10),
    "a BMP of one row": lambda: bmp_of_one_row(5_000_000),
    "a BMP of half a million runs": lambda: bmp_of_runs(
        1000, 490, (b"\1\5" * 1000 + b"\0\0") * 490
    ),
    "a TIFF of 65,536 strips": lambda: tiff_of_strips(65_536),
    "a TIFF of a tile of 16 megapixels": lambda: tiff_of_one_tile(64, 4096, LZMA),
    "a TIFF of floats": lambda: flat("TIFF", "F", 5000, 5000, compression="tiff_adobe_deflate"),
}
"""Those that are within every limit, and as dear as that allows."""
