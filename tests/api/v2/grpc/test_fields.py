"""The wire format of protobuf, held to protobuf itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.v2.grpc.fields import (
    LENGTH_DELIMITED,
    VARINT,
    FieldBudget,
    read_fields,
    varint,
)
from service.api.v2.grpc.open_inference_pb2 import InferParameter, ModelInferRequest
from service.errors import BadRequest


def fields_of(message: bytes, most: int = 100) -> list[tuple[int, int, bytes]]:
    """Number, kind and content of each field."""
    found = read_fields(memoryview(message), FieldBudget(most))
    return [(field.number, field.kind, bytes(field.content)) for field in found]


def test_fields_are_found_in_their_order() -> None:
    """Texts, messages, numbers and numbers of a fixed size."""
    message = ModelInferRequest(model_name="tiny", id="7", raw_input_contents=[b"ab", b""])
    number = InferParameter(int64_param=300)
    fixed = InferParameter(double_param=0.5)

    assert fields_of(message.SerializeToString()) == [
        (1, LENGTH_DELIMITED, b"tiny"),
        (3, LENGTH_DELIMITED, b"7"),
        (7, LENGTH_DELIMITED, b"ab"),
        (7, LENGTH_DELIMITED, b""),
    ]
    assert fields_of(number.SerializeToString()) == [(2, VARINT, b"\xac\x02")]
    assert fields_of(fixed.SerializeToString())[0][2] == b"\0\0\0\0\0\0\xe0?"


@given(st.integers(0, 2**64 - 1))
def test_a_number_is_written_as_protobuf_writes_it(number: int) -> None:
    """Seven bits a byte, the lowest first."""
    message = InferParameter(uint64_param=number).SerializeToString()

    assert varint(number) == message[1:]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"\x0a\x05tiny", "5 bytes are to follow, 4 do"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7fx", "bytes are to follow, 1 do"),
        (b"\x0a", "a number has no end"),
        (b"\xff" * 20, "a number has no end"),
        (b"\x21half", "8 bytes are to follow, 4 do"),
        (b"\x0b", "no value is of the kind 3"),
        (b"\x08\x01" * 101, "the message has too many fields"),
    ],
)
def test_damage_is_told(message: bytes, reason: str) -> None:
    """Whatever is said to follow, nothing is reserved for it."""
    with pytest.raises(BadRequest, match=reason):
        fields_of(message)


@given(st.binary(max_size=64))
def test_any_bytes_are_fields_or_damaged(message: bytes) -> None:
    """Fields make up the whole message, without a gap."""
    try:
        found = list(read_fields(memoryview(message), FieldBudget(100)))
    except BadRequest:
        return
    assert b"".join(field.whole for field in found) == message
