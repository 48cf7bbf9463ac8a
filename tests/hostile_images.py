"""Small files that cost much: each as bad as is known, and made in code."""

from __future__ import annotations

import struct
import zlib

from PIL import Image

from tests.sample_images import encode, gradient


def jpeg_of_scans(scans: int) -> bytes:
    """A progressive JPEG whose last scan is repeated: every one goes over all of the picture."""
    file = encode(gradient(64, 64), "JPEG", progressive=True)
    last = file.rfind(b"\xff\xda")
    return file[:-2] + file[last:-2] * scans + file[-2:]


def vast_webp() -> bytes:
    """40 megapixels of one colour in some dozens of bytes."""
    return encode(Image.new("RGB", (6500, 6150)), "WEBP", lossless=True)


def deep_png(width: int = 6500, height: int = 6150) -> bytes:
    """40 megapixels of 16 bits and four channels, all alike."""
    rows = zlib.compressobj(1)
    line = bytes(1 + 8 * width)
    content = b"".join(rows.compress(line) for _ in range(height)) + rows.flush()
    header = struct.pack(">IIBBBBB", width, height, 16, 6, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def tiff_of_one_vast_tile() -> bytes:
    """64 x 64 px in a tile of 40,000 x 40,000, which libtiff would make room for."""
    content = zlib.compress(bytes(64))
    tags = {
        256: 64,
        257: 64,
        258: 8,
        259: 8,
        262: 1,
        277: 1,  # size, bits, deflate, grey, samples
        322: 40_000,
        323: 40_000,
        325: len(content),
    }
    count = len(tags) + 1
    tags[324] = 8 + 2 + 12 * count + 4
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, tags[tag]) for tag in sorted(tags))
    return b"II*\0" + struct.pack("<IH", 8, count) + entries + bytes(4) + content


def png_of_chunks(count: int) -> bytes:
    """A picture behind so many chunks of text."""
    file = encode(gradient(8, 8), "PNG")
    return file[:33] + chunk(b"tEXt", b"a\0b") * count + file[33:]


def png_with(name: bytes, content: bytes, *, checksum: int | None = None) -> bytes:
    """A picture with one chunk more, by default with the right checksum."""
    file = encode(gradient(8, 8), "PNG")
    whole = chunk(name, content)
    if checksum is not None:
        whole = whole[:-4] + struct.pack(">I", checksum)
    return file[:33] + whole + file[33:]


def chunk(name: bytes, content: bytes) -> bytes:
    """One chunk of a PNG."""
    checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)
