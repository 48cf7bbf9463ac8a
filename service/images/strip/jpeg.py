"""JPEG: what is kept are tables, frames, scans, and two segments about how colours are stored."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from service.errors import ImageTooLarge, UndecodableImage
from service.images.strip.orientation import EXIF, orientation_of
from service.images.strip.stripped import MOST_PARTS, Stripped, too_many_parts

MOST_SCANS = 100  # encoders write up to a dozen or two
MOST_SCANNED_PIXELS = 800_000_000  # a scan goes over all of the picture, in 1 ns a pixel or more
MOST_TABLE_BYTES = 65_536  # before the first scan; encoders write less than 2,000

_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_EXIF_OR_XMP, _SCAN, _BEGIN, _END = 0xE1, 0xDA, 0xD8, 0xD9

# What decoders take for a marker, between segments and in scans: neither rubbish nor a stuffed
# byte, fill, or a restart.
_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")


@dataclass(frozen=True, slots=True)
class _Segment:
    """A marker, where it stands, and where its content begins and ends."""

    marker: int
    place: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Frame:
    """What the picture is like: its size, and the blocks of its components.

    Attributes:
        samples: of all components, their last blocks whole.
    """

    width: int = 0
    height: int = 0
    components: int = 0
    samples: int = 0
    is_progressive: bool = False


def strip_jpeg(data: bytes) -> Stripped:
    """Leave out what is beside the picture, up to its first scan, and what is behind its end.

    From the first scan on all of it is kept: there Pillow looks no more, and decoders pass over the
    rest at no cost.

    Raises:
        ImageTooLarge: more scans than `MOST_SCANS` or, of a large picture, fewer; too many tables.
        UndecodableImage: no scan.
    """
    kept, table_bytes = [data[:2]], 0
    exif = xmp = b""
    frame = _Frame()
    for segment in _segments(data):
        if segment.marker == _END:
            break
        content = data[segment.start : segment.end]
        if segment.marker == _SCAN:
            kept.append(data[segment.place : _end_of_picture(data, segment.place, frame)])
            held = _held_bytes(frame, in_first_scan=content[0] if content else 0)
            return Stripped(b"".join(kept), orientation_of(exif, xmp), held)
        if segment.marker == _EXIF_OR_XMP and content.startswith(EXIF):
            exif = exif or content
        elif segment.marker == _EXIF_OR_XMP and content.startswith(_XMP):
            xmp = content
        elif _is_kept(segment.marker, content):
            kept.append(data[segment.place : segment.end])
            table_bytes += segment.end - segment.place
            if table_bytes > MOST_TABLE_BYTES:
                raise ImageTooLarge(f"image is a JPEG of over {MOST_TABLE_BYTES} bytes of tables")
            if segment.marker in _FRAMES:
                frame = _read_frame(segment.marker, content)
    raise UndecodableImage("image is damaged: it is a JPEG without a scan")


def _segments(data: bytes, place: int = 2) -> Iterator[_Segment]:
    """Yield segments; the last one may be cut short.

    Raises:
        ImageTooLarge: they are too many.
    """
    for _ in range(MOST_PARTS):
        match = _MARKER.search(data, place)
        if match is None:
            return
        marker, start = data[match.end() - 1], match.end()
        if marker < 0xC0 or marker in (_BEGIN, _END):  # they have no content
            place = start
        else:
            length = max(2, int.from_bytes(data[start : start + 2]))
            place, start = min(len(data), start + length), start + 2
        yield _Segment(marker, match.start(), start, place)
    raise too_many_parts()


def _is_kept(marker: int, content: bytes) -> bool:
    if marker == 0xE0:
        return content.startswith(b"JFIF\0") and len(content) >= 14
    if marker == 0xEE:
        return content.startswith(b"Adobe") and len(content) >= 12
    return 0xC0 <= marker <= 0xCF or 0xDB <= marker <= 0xDF


def _read_frame(marker: int, content: bytes) -> _Frame:
    """Read a frame's header; a damaged one counts as nothing, its decoder will refuse it."""
    components = content[5] if len(content) > 5 else 0
    if not components or len(content) < 6 + 3 * components:
        return _Frame()
    height, width = (int.from_bytes(content[at : at + 2]) for at in (1, 3))
    factors = [divmod(content[at], 16) for at in range(7, 7 + 3 * components, 3)]
    across, down = (max(1, *sides) for sides in zip((0, 0), *factors, strict=True))
    units = -(-width // (8 * across)) * -(-height // (8 * down))
    samples = 64 * units * sum(h * v for h, v in factors)
    return _Frame(width, height, components, samples, marker in _PROGRESSIVE)


def _end_of_picture(data: bytes, first_scan: int, frame: _Frame) -> int:
    """Where the picture ends, its scans counted.

    Raises:
        ImageTooLarge: they are too many.
    """
    pixels = frame.width * frame.height
    most = min(MOST_SCANS, MOST_SCANNED_PIXELS // max(1, pixels))
    scans = 0
    for segment in _segments(data, first_scan):
        if segment.marker == _END:
            return segment.end
        scans += segment.marker == _SCAN
        if scans > most:
            raise ImageTooLarge(
                f"image is a JPEG of over {most} scans, the limit at {pixels / 1e6:.1f} megapixels"
            )
    return len(data)


def _held_bytes(frame: _Frame, in_first_scan: int) -> int:
    """What a decoder holds: some rows or, where one scan does not make the picture, all of it."""
    rows = 100 * frame.width
    is_whole = frame.is_progressive or in_first_scan < frame.components
    return rows + (2 * frame.samples if is_whole else 0)
