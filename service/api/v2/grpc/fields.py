"""The fields of a protobuf message, found without reading what they hold.

The wire format: each field is a tag, whose lowest three bits say how long the value is and the rest
which field it is, and the value (https://protobuf.dev/programming-guides/encoding/).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from service.errors import BadRequest

VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5
FIXED_BYTES: Final = {FIXED64: 8, FIXED32: 4}
LONGEST_VARINT = 10  # bytes, of a number of 64 bits


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message.

    Attributes:
        number: of the field.
        kind: of its value.
        whole: its tag and its value.
        content: the value, without its length where it has one of its own.
    """

    number: int
    kind: int
    whole: memoryview
    content: memoryview

    def holds_bytes(self, number: int) -> bool:
        """Whether it is a certain field, and bytes, a text or a message."""
        return self.number == number and self.kind == LENGTH_DELIMITED


@dataclass(slots=True)
class FieldBudget:
    """How many fields a request may still have: whoever sends millions gets an answer early."""

    left: int

    def spend(self) -> None:
        """Take one.

        Raises:
            BadRequest: none is left.
        """
        self.left -= 1
        if self.left < 0:
            raise BadRequest("the message has too many fields")


def read_fields(message: memoryview, budget: FieldBudget) -> Iterator[Field]:
    """Find the fields of a message, one after the other.

    Raises:
        BadRequest: it is no message, or has more fields than are left.
    """
    at = 0
    while at < len(message):
        budget.spend()
        tag, value_at = _read_varint(message, at)
        content, end = _read_value(message, tag & 7, value_at)
        yield Field(tag >> 3, tag & 7, message[at:end], content)
        at = end


def _read_value(message: memoryview, kind: int, at: int) -> tuple[memoryview, int]:
    """A value's content, and where it ends."""
    if kind == VARINT:
        _, end = _read_varint(message, at)
        return message[at:end], end
    if kind == LENGTH_DELIMITED:
        length, start = _read_varint(message, at)
        return _span(message, start, length), start + length
    if kind in FIXED_BYTES:
        length = FIXED_BYTES[kind]
        return _span(message, at, length), at + length
    raise BadRequest(f"the message is damaged: no value is of the kind {kind}")


def _span(message: memoryview, start: int, length: int) -> memoryview:
    if length > len(message) - start:
        raise BadRequest(
            f"the message is damaged: {length} bytes are to follow, {len(message) - start} do"
        )
    return message[start : start + length]


def _read_varint(message: memoryview, at: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first, and where it ends."""
    number = 0
    for position, byte in enumerate(message[at : at + LONGEST_VARINT]):
        number |= (byte & 127) << (7 * position)
        if byte < 128:
            return number, at + position + 1
    raise BadRequest("the message is damaged: a number has no end")


def varint(number: int) -> bytes:
    """Write a number from 0 on."""
    groups = []
    while number > 127:
        groups.append(number & 127 | 128)
        number >>= 7
    return bytes((*groups, number))
