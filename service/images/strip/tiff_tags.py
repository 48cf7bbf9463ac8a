"""The first directory of a TIFF, which is what an EXIF block is, too."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from service.images.strip.stripped import MOST_PARTS, too_many_parts

ORIENTATION = 0x0112

_HEADERS = {  # order of bytes, and whether it is a BigTIFF
    b"II*\0": ("<", False),
    b"MM\0*": (">", False),
    b"MM*\0": (">", False),  # the wrong way round, as some programs write it
    b"II\0*": ("<", False),
    b"II+\0": ("<", True),
}
_NUMBERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q"}
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}


@dataclass(frozen=True, slots=True)
class Tag:
    """One entry of a directory.

    Attributes:
        number: what it is.
        kind: of its values.
        count: of its values.
        place: where its values begin in the file.
        entry: as the file has it.
    """

    number: int
    kind: int
    count: int
    place: int
    entry: bytes


@dataclass(frozen=True, slots=True)
class Directory:
    """The tags of a file whose values lie in it, the first of each number.

    Attributes:
        order: of the file's bytes, as `struct` has it.
    """

    data: bytes
    order: str
    is_big: bool
    tags: dict[int, Tag]

    def numbers(self, number: int, otherwise: int, most: int = 1) -> tuple[int, ...]:
        """The first values of a tag; the other one where there are none, or no whole numbers."""
        tag = self.tags.get(number)
        if tag is None or not tag.count or tag.kind not in _NUMBERS:
            return (otherwise,)
        form = f"{self.order}{min(tag.count, most)}{_NUMBERS[tag.kind]}"
        return struct.unpack_from(form, self.data, tag.place)

    def content(self, number: int) -> bytes:
        """The bytes of a tag's values."""
        tag = self.tags.get(number)
        return self.data[tag.place : tag.place + _size_bytes(tag.kind, tag.count)] if tag else b""


def read_directory(data: bytes) -> Directory | None:
    """Read as much of a directory as is there; None of what is no TIFF.

    Raises:
        ImageTooLarge: more than `MOST_PARTS` entries.
    """
    if data[:4] not in _HEADERS or len(data) < 8:
        return None
    order, is_big = _HEADERS[data[:4]]
    tags: dict[int, Tag] = {}
    for tag in _entries(data, order, is_big=is_big):
        tags.setdefault(tag.number, tag)
    return Directory(data, order, is_big, tags)


def _entries(data: bytes, order: str, *, is_big: bool) -> Iterator[Tag]:
    head, count_form, form = ("8xQ", "Q", "HHQQ") if is_big else ("4xI", "H", "HHII")
    entry = struct.Struct(order + form)
    inline_bytes = 8 if is_big else 4
    try:
        (place,) = struct.unpack_from(order + head, data)
        (count,) = struct.unpack_from(order + count_form, data, min(place, len(data)))
    except struct.error:
        return
    begin = place + struct.calcsize(f"={count_form}")
    end = min(begin + count * entry.size, len(data) - entry.size + 1)
    if end - begin > MOST_PARTS * entry.size:
        raise too_many_parts()
    for here in range(begin, end, entry.size):
        number, kind, values, at = entry.unpack_from(data, here)
        if (size := _size_bytes(kind, values)) <= inline_bytes:
            at = here + entry.size - inline_bytes
        if at + size <= len(data):
            yield Tag(number, kind, values, at, data[here : here + entry.size])


def _size_bytes(kind: int, count: int) -> int:
    return _SIZES.get(kind, 0) * count
