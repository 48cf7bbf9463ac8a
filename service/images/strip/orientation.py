"""Which way is up, as a file's metadata say it: 1 to 8 by EXIF, 0 where they do not say."""

from __future__ import annotations

import re

from service.images.strip.tiff_tags import ORIENTATION, Directory, read_directory

EXIF = b"Exif\0\0"

_HEADS = re.compile(rb"^(?:Exif\0\0){1,2}")
_IN_XMP = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')


def orientation_of(exif: bytes, xmp: bytes) -> int:
    """The orientation by EXIF or, where EXIF has none, by XMP.

    Args:
        exif: a TIFF with or without its heading, damaged or empty.
        xmp: a packet of XML, damaged or empty.
    """
    return orientation_by(read_directory(_HEADS.sub(b"", exif, count=1)), xmp)


def orientation_by(directory: Directory | None, xmp: bytes) -> int:
    """The same, by a directory that has been read."""
    if directory and ORIENTATION in directory.tags:
        return directory.numbers(ORIENTATION, otherwise=0)[0]
    match = _IN_XMP.search(xmp)
    return int(match[1]) if match else 0
