"""Pictures and picture files made in code."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from service.images.contract import ImageLimits
from service.images.decode import decode

Picture = NDArray[np.uint8]
"""(H, W, 3) uint8, RGB."""

LIMITS = ImageLimits(encoded_bytes=1_000_000, pixels=100_000)
ORANGE = (200, 100, 20)


def gradient(height: int, width: int) -> Picture:
    """A smooth picture that no turn and no mirror maps onto itself."""
    rows, columns = np.mgrid[0:height, 0:width]
    down, across = rows / max(1, height - 1), columns / max(1, width - 1)
    channels = np.stack([down, across, (1 - down) * (1 - across)], axis=-1)
    picture: Picture = np.rint(255 * channels).astype(np.uint8)
    return picture


def noise(height: int, width: int, seed: int = 0) -> Picture:
    """Independent random pixels, which compress badly and show every shift."""
    pixels = np.random.default_rng(seed).bytes(height * width * 3)
    return np.frombuffer(pixels, np.uint8).reshape(height, width, 3)


def solid(colour: tuple[int, int, int], height: int = 16, width: int = 16) -> Picture:
    """One colour everywhere."""
    return np.full((height, width, 3), colour, np.uint8)


def encode(image: Picture | Image.Image, name: str, **options: Any) -> bytes:
    """A file of the format that Pillow calls `name`."""
    file = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(file, name, **options)
    return file.getvalue()


def decode_whole(data: bytes, limits: ImageLimits) -> Picture:
    """Every pixel that a file stores, upright, as the service decodes it."""
    return np.asarray(decode(data, limits).picture.convert("RGB"))


def orientation_exif(orientation: int) -> bytes:
    """An EXIF block that says how a picture is to be turned."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif.tobytes()


def png(width: int, height: int, depth: int, colour_type: int, **chunks: bytes) -> bytes:
    """A PNG file of the given header, then the given chunks as they are, IDAT compressed."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    body = {"IHDR": header, **chunks, "IDAT": zlib.compress(chunks.get("IDAT", b"")), "IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        png_chunk(name.encode(), content) for name, content in body.items()
    )


def png_chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a PNG with its checksum."""
    checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def ycck_jpeg(colour: tuple[int, int, int]) -> bytes:
    """A 16 x 16 JPEG of one colour as Adobe's programs write it: YCCK, inverted, without black."""
    inverted = Image.new("RGB", (1, 1), tuple(255 - value for value in colour))
    stored = inverted.convert("YCbCr").getpixel((0, 0))
    assert isinstance(stored, tuple)
    inks = (*(255 - value for value in stored), 0)  # Pillow inverts them as it writes
    file = bytearray(encode(Image.new("CMYK", (16, 16), inks), "JPEG", quality=100))
    file[file.index(b"Adobe") + len("Adobe") + 6] = 2  # the marker's transform: YCCK
    return bytes(file)


def lossless_jpeg(height: int, width: int) -> bytes:
    """A JPEG without DCT, as medical devices and cameras' raw files hold: mid-grey everywhere.

    Every pixel is predicted from the one before, and every difference is 0: one bit, 0.
    """
    frame = struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0"
    one_code = b"\0" + b"\1" + bytes(15) + b"\0"  # table 0: the code 0 says that 0 bits follow
    scan = b"\1\1\0" + b"\1\0\0"  # one component, predictor 1
    segments = [(0xC3, frame), (0xC4, one_code), (0xDA, scan)]
    header = b"".join(
        struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content
        for marker, content in segments
    )
    return b"\xff\xd8" + header + bytes(height * width // 8 + 1) + b"\xff\xd9"


def declare_premultiplied(tiff: bytes) -> bytes:
    """The same little-endian TIFF, its alpha said to be multiplied into the colours."""
    straight, premultiplied = (
        struct.pack("<HHII", ExifTags.Base.ExtraSamples, 3, 1, kind) for kind in (2, 1)
    )
    assert straight in tiff
    return tiff.replace(straight, premultiplied)
