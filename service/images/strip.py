"""A file -> the same picture without what is beside its pixels, and which way is up.

Profiles, comments, texts, thumbnails and everything else that a decoder would parse for nothing are
left out before it sees the file: what they would cost, and whether they are damaged, is then of no
consequence. Of the metadata only the orientation is read, from the first 64 kB that may hold it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from service.errors import ImageTooLarge, UndecodableImage

MOST_SCANS = 100  # of a JPEG; encoders write up to a dozen
MOST_PARTS = 100_000  # segments, chunks or blocks that a file may consist of
MOST_METADATA = 65_536  # bytes that are looked through for the orientation

_EXIF = b"Exif\0\0"
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_PNG_XMP = b"XML:com.adobe.xmp\0"
_ORIENTATION = 0x0112
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # in a scan; not stuffing, fill or a restart


@dataclass(frozen=True, slots=True)
class Stripped:
    """What a decoder needs of a file, and its orientation by EXIF; 0 where none is said."""

    content: bytes
    orientation: int = 0


def strip_jpeg(data: bytes) -> Stripped:
    """Keep tables, frames, scans, and the two segments that say how colours are stored.

    Raises:
        ImageTooLarge: more scans than `MOST_SCANS`: each goes over all of the picture.
        UndecodableImage: the segments before the first scan are damaged.
    """
    kept = [data[:2]]
    orientation = 0
    scans = 0
    place = 2
    for _ in range(MOST_PARTS):
        segment = _jpeg_segment(data, place)
        if segment is None:
            break
        marker, start, end = segment
        body = data[start:end]
        if marker == 0xE1:
            orientation = _orientation_of(body, orientation)
        elif marker == 0xDA:
            scans += 1
            _require_few(scans)
            match = _MARKER.search(data, end)
            end = match.start() if match else len(data)
        if _is_essential(marker, body):
            kept.append(data[place:end])
        place = end
        if marker == 0xD9:
            break
    else:
        raise _too_many_parts()
    if not scans:
        raise UndecodableImage("image is damaged: a JPEG without a scan")
    return Stripped(b"".join(kept), orientation)


def _too_many_parts() -> ImageTooLarge:
    return ImageTooLarge(f"image consists of over {MOST_PARTS} parts, which is the limit")


def _require_few(scans: int) -> None:
    if scans > MOST_SCANS:
        raise ImageTooLarge(f"image is a JPEG of over {MOST_SCANS} scans, which is the limit")


def _jpeg_segment(data: bytes, place: int) -> tuple[int, int, int] | None:
    """The marker at a place, and where its content begins and ends; None at the file's end."""
    while place + 1 < len(data) and data[place] != 0xFF:  # rubbish between segments
        place = data.find(b"\xff", place)
        if place < 0:
            return None
    while place + 1 < len(data) and data[place + 1] == 0xFF:  # fill
        place += 1
    if place + 1 >= len(data):
        return None
    marker = data[place + 1]
    if marker == 0x01 or 0xD0 <= marker <= 0xD9:  # they have no content
        return marker, place + 2, place + 2
    if place + 4 > len(data):
        return None
    (length,) = struct.unpack_from(">H", data, place + 2)
    return marker, place + 4, min(len(data), place + 2 + max(2, length))


def _is_essential(marker: int, body: bytes) -> bool:
    if marker == 0xE0:
        return body.startswith(b"JFIF\0")
    if marker == 0xEE:
        return body.startswith(b"Adobe")
    return not (0xE1 <= marker <= 0xEF or marker == 0xFE)


def strip_png(data: bytes) -> Stripped:
    """Keep the chunks that make the pixels: header, palette, transparency and data."""
    kept = [data[:8]]
    orientation = 0
    for name, start, end in _png_chunks(data):
        if name in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            kept.append(data[start - 8 : end + 4])
        elif name == b"eXIf":
            orientation = _orientation_of(_EXIF + data[start:end], orientation)
        elif name == b"iTXt" and data.startswith(_PNG_XMP, start):
            orientation = _orientation_of(_XMP + data[start:end], orientation)
    return Stripped(b"".join(kept), orientation)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Each chunk's name, and where its content begins and ends; the last one may be cut short."""
    place = 8
    for _ in range(MOST_PARTS):
        if place + 8 > len(data):
            return
        length, name = struct.unpack_from(">I4s", data, place)
        yield name, place + 8, place + 8 + length
        place += 12 + length
        if name == b"IEND":
            return
    raise _too_many_parts()


def strip_webp(data: bytes) -> Stripped:
    """Keep the chunks that make pictures, and say in the header that there are no others."""
    kept = []
    orientation = 0
    for name, start, end in _riff_chunks(data):
        body = data[start:end]
        if name == b"VP8X" and body:
            has_others = 0x20 | 0x08 | 0x04  # profile, EXIF, XMP
            kept.append(data[start - 8 : start] + bytes([body[0] & ~has_others]) + body[1:])
        elif name in (b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF"):
            kept.append(data[start - 8 : end + (end - start) % 2])
        elif name == b"EXIF":
            exif = body if body.startswith(_EXIF) else _EXIF + body
            orientation = _orientation_of(exif, orientation)
        elif name == b"XMP ":
            orientation = _orientation_of(_XMP + body, orientation)
    content = b"".join(kept)
    return Stripped(b"RIFF" + struct.pack("<I", len(content) + 4) + b"WEBP" + content, orientation)


def _riff_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    place = 12
    for _ in range(MOST_PARTS):
        if place + 8 > len(data):
            return
        name, length = struct.unpack_from("<4sI", data, place)
        yield name, place + 8, min(len(data), place + 8 + length)
        place += 8 + length + length % 2
    raise _too_many_parts()


def strip_gif(data: bytes) -> Stripped:
    """Keep the first picture with its palettes and its transparency; end the file behind it."""
    if len(data) < 13:
        return Stripped(data)
    place = 13 + _palette_bytes(data[10])
    kept = [data[:place]]
    while place < len(data) and data[place] != 0x2C:
        end = _sub_blocks_end(data, place + 2)
        if data[place : place + 2] == b"\x21\xf9":  # how the picture is to be shown
            kept.append(data[place:end])
        elif data[place] != 0x21:
            break
        place = end
    if data[place : place + 1] == b"\x2c" and place + 10 <= len(data):
        end = _sub_blocks_end(data, place + 11 + _palette_bytes(data[place + 9]))
        kept.append(data[place:end])
    return Stripped(b"".join(kept) + b"\x3b")


def _palette_bytes(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _sub_blocks_end(data: bytes, place: int) -> int:
    for _ in range(MOST_PARTS):
        if place >= len(data) or not data[place]:
            return min(len(data), place + 1)
        place += 1 + data[place]
    raise _too_many_parts()


def strip_nothing(data: bytes) -> Stripped:
    """Leave a file as it is: a BMP has nothing beside its pixels, a TIFF's tags are its header."""
    return Stripped(data)


Strip = Callable[[bytes], Stripped]


def _orientation_of(segment: bytes, known: int) -> int:
    """The orientation that a segment of metadata claims; the known one where it claims none."""
    segment = segment[:MOST_METADATA]
    if segment.startswith(_EXIF):
        return _from_exif(segment[len(_EXIF) :]) or known
    if segment.startswith(_XMP) and not known:
        match = _XMP_ORIENTATION.search(segment)
        return int(match[1]) if match else known
    return known


def _from_exif(tiff: bytes) -> int:
    """The orientation by the first directory of a TIFF; 0 where it has none, or is damaged."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return 0
    (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
    if directory + 2 > len(tiff):
        return 0
    (count,) = struct.unpack_from(f"{order}H", tiff, directory)
    for entry in range(directory + 2, min(directory + 2 + 12 * count, len(tiff) - 11), 12):
        tag, kind, values = struct.unpack_from(f"{order}HHI", tiff, entry)
        if tag == _ORIENTATION and kind == 3 and values == 1:
            (orientation,) = struct.unpack_from(f"{order}H", tiff, entry + 8)
            return int(orientation) if 1 <= orientation <= 8 else 0
    return 0
