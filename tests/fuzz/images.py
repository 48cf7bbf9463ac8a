"""The gate of images: whatever the bytes, pixels of the model's shape or an error a client is told.

Formats told by content, what is beside the pixels left out, memory told from the header, decoding
and preprocessing, as a decoding process does them.
"""

from __future__ import annotations

import io
import logging
import resource
import time
import zlib

import numpy as np
from PIL import Image

from service.errors import BadInput
from service.images.contract import ImageLimits, InputContract
from service.images.decode import decode, silence_decoders
from service.images.decode_worker import WorkerLimits, memory_bound
from service.images.preprocess import preprocess
from tests.hostile_images import (
    EXIF_WITH_MANY_TAGS,
    GIF_DISPOSAL,
    bmp_of_runs,
    flat,
    gif,
    jpeg_of_scans,
    png_with,
    segment,
    tiff_of_one_tile,
    tiff_of_strips,
    tiff_of_tags,
    with_segments,
)
from tests.sample_images import (
    declare_premultiplied,
    encode,
    gradient,
    lossless_jpeg,
    noise,
    orientation_exif,
    png,
    ycck_jpeg,
)

LONGEST_BYTES = 16_384
LIMITS = ImageLimits(LONGEST_BYTES, pixels=4_000_000, decoded_bytes=64_000_000)
GRANTED_BYTES = 8_000_000
MOST_CPU_S = 4.0  # of one image; counting coverage makes Python several times slower
CONTRACTS = (
    InputContract(size_px=32, fit="crop", shorter_side_px=36),
    InputContract(size_px=32, fit="fit", interpolation="bicubic"),
)
_XMP = b"XML:com.adobe.xmp"
_PROFILE = b"Raw profile type exif"
_IN_HEX = b"\nexif\n40\n" + (b"Exif\0\0" + orientation_exif(6)).hex().encode()
TOKENS = (
    *(_XMP, _PROFILE, b"tiff:Orientation", b"zTXt", b"iTXt", b"tEXt"),
    *(
        b"\xff\xd8\xff",
        b"\xff\xda",
        b"\xff\xc0",
        b"\xff\xc2",
        b"\xff\xc4",
        b"\xff\xdb",
        b"\xff\xd9",
    ),
    *(b"\xff\xe1", b"Exif\0\0", b"Adobe", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    *(b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"acTL", b"eXIf", b"\x89PNG\r\n\x1a\n"),
    *(b"RIFF", b"WEBP", b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF"),
    *(b"GIF87a", b"GIF89a", b"NETSCAPE2.0", b"BM", b"ftypavif", b"ftypmif1", b"irot", b"imir"),
)


class TooDear(Exception):
    """An image took more than its bound."""


_said = io.StringIO()  # what libraries log: it would stand between the lines of the service's log


def prepare() -> None:
    """Be as quiet as a decoding process, and listen."""
    silence_decoders()
    logging.basicConfig(stream=_said)


def check(data: bytes) -> None:
    """Take a file through the gate, a PNG as it is or with checksums that are right.

    Raises:
        TooDear: it took too long, or more memory than its header tells.
        Exception: it ended in anything but pixels or a `BadInput`.
    """
    contract = CONTRACTS[len(data) % 2]
    if len(data) % 4 > 1:
        data = with_checksums(data)
    bound = memory_bound(WorkerLimits(LIMITS, MOST_CPU_S, GRANTED_BYTES))
    began = time.process_time()
    try:
        bound(GRANTED_BYTES)
        pixels = preprocess(decode(data, LIMITS, contract, bound), contract)
        assert pixels.shape == (3, 32, 32)
        assert pixels.dtype == np.uint8
    except BadInput:
        pass
    except MemoryError as error:
        raise TooDear("more memory than its header tells") from error
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
    assert not _said.getvalue()
    if (took_s := time.process_time() - began) > MOST_CPU_S:
        raise TooDear(f"{took_s:.1f} s")


def with_checksums(data: bytes) -> bytes:
    """A PNG as somebody would write it who wants its chunks to be read; else the same bytes."""
    mended = bytearray(data)
    place = 8 if data.startswith(b"\x89PNG\r\n\x1a\n") else len(data)
    while place + 12 <= len(data):
        end = place + 8 + int.from_bytes(data[place : place + 4])
        if end + 4 <= len(data):
            mended[end : end + 4] = zlib.crc32(data[place + 4 : end]).to_bytes(4)
        place = end + 4
    return bytes(mended)


def seeds() -> list[bytes]:
    """Files of every format and kind, small ones."""
    return [*_plain(), *_special(), *_odd()]


def _plain() -> list[bytes]:
    picture = gradient(20, 30)
    names = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF")
    modes = {
        "JPEG": ("L", "CMYK"),
        "PNG": ("1", "L", "LA", "P", "RGBA", "I;16"),
        "WEBP": ("RGBA",),
        "AVIF": ("RGBA",),
        "GIF": ("L",),
        "BMP": ("1", "L", "P"),
        "TIFF": ("1", "L", "LA", "P", "RGBA", "CMYK", "LAB", "YCbCr", "I;16", "I", "F"),
    }
    others = [
        flat(name, mode, 12, 9, **({"speed": 10} if name == "AVIF" else {}))
        for name, listed in modes.items()
        for mode in listed
    ]
    return [*(encode(picture, name) for name in names), *others]


def _special() -> list[bytes]:
    picture = gradient(24, 16)
    turned = [
        encode(picture, name, exif=orientation_exif(6)) for name in ("JPEG", "PNG", "WEBP", "TIFF")
    ]
    packed = [
        encode(picture, "TIFF", compression=name)
        for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
    ]
    frames = [Image.fromarray(noise(8, 8, seed)) for seed in (1, 2)]
    moving = [
        encode(frames[0], name, save_all=True, append_images=frames[1:])
        for name in ("GIF", "PNG", "WEBP", "TIFF")
    ]
    return [
        *(*turned, *packed, *moving),
        encode(picture, "JPEG", progressive=True),
        encode(picture, "WEBP", lossless=True),
        declare_premultiplied(flat("TIFF", "RGBA", 5, 5)),
        ycck_jpeg((10, 20, 30)),
        lossless_jpeg(9, 9),
    ]


def _odd() -> list[bytes]:
    jpeg = flat("JPEG", "RGB", 64, 64)
    return [
        *(b"", b"BM", b"\xff\xd8\xff", b"<svg>", b"%PDF-", b"\0\0\0\x20ftypheic"),
        with_segments(jpeg, segment(0xE1, b"Exif\0\0" + EXIF_WITH_MANY_TAGS[:400])),
        jpeg_of_scans(20),
        png(4, 4, depth=16, colour_type=6, IDAT=bytes(4 * 33)),
        png(7, 5, depth=2, colour_type=3, PLTE=bytes(range(12)), tRNS=b"\0\1", IDAT=bytes(15)),
        png_with((b"zTXt", b"a\0\0" + bytes(9)), (b"eXIf", b"II*\0\x08\0\0\0\0\0")),
        png_with((b"iTXt", _XMP + b"\0\1\0\0\0" + zlib.compress(b'tiff:Orientation="6"'))),
        png_with((b"iTXt", _XMP + b'\0\0\0\0\0tiff:Orientation="6"')),
        png_with((b"zTXt", _PROFILE + b"\0\0" + zlib.compress(_IN_HEX))),
        png_with((b"tEXt", _PROFILE + b"\0" + _IN_HEX)),
        png(3, 3, depth=16, colour_type=0, tRNS=b"\0\0", IDAT=bytes(3 * 7)),
        png(3, 3, depth=8, colour_type=2, tRNS=bytes(6), IDAT=bytes(3 * 10)),
        gif(20, 20, (30, 10), GIF_DISPOSAL),
        bmp_of_runs(20, 20, b"\5\1\0\0" * 20 + b"\0\1"),
        tiff_of_one_tile(64, 64),
        tiff_of_strips(20)[:4000],
        tiff_of_tags(20),
    ]
