"""Requests of which the tensors are cut out."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from service.api.v2.grpc.cut import HEAD_BYTES, MOST_FIELDS, CutRequest, cut_request
from service.api.v2.grpc.fields import varint
from service.api.v2.grpc.open_inference_pb2 import (
    InferParameter,
    InferTensorContents,
    ModelInferRequest,
)
from service.errors import BadRequest
from tests.api.v2.grpc.calling import input_of, pictures, pixels

MOST_IMAGES = 4


def cut(message: ModelInferRequest) -> CutRequest:
    """Cut a message."""
    return cut_request(message.SerializeToString(), MOST_IMAGES)


def test_raw_tensors_are_views_of_the_message() -> None:
    """Nothing of them is copied, and protobuf reads the rest."""
    parameters = {"timeout": InferParameter(int64_param=5)}
    message = pixels(7, 8, id="seven", parameters=parameters)
    sent = message.SerializeToString()

    found = cut_request(sent, MOST_IMAGES)

    (raw,) = found.raw
    assert raw.obj is sent
    assert bytes(raw) == message.raw_input_contents[0]
    assert found.head == ModelInferRequest(model_name="tiny", id="seven", parameters=parameters)
    assert found.inputs[0].head == input_of("UINT8", [2, 3, 32, 32])
    assert not found.inputs[0].has_contents


def test_contents_are_cut_out_of_inputs() -> None:
    """Elements one by one, numbers as they are packed."""
    files = cut(pictures(b"one", b""))
    tensor = input_of("UINT8", [3])
    tensor.contents.uint_contents.extend([1, 200, 3])
    numbers = cut(ModelInferRequest(inputs=[tensor]))

    assert [bytes(element) for element in files.inputs[0].elements] == [b"one", b""]
    assert b"".join(numbers.inputs[0].numbers) == b"\x01\xc8\x01\x03"
    assert [found.inputs[0].has_contents for found in (files, numbers)] == [True, True]


def test_numbers_that_are_not_packed_are_read_too() -> None:
    """A parser has to take both forms."""
    contents = b"\x20\x07" + InferTensorContents(uint_contents=[200, 1]).SerializeToString()
    tensor = input_of("UINT8", [3]).SerializeToString()
    whole = tensor + b"\x2a" + varint(len(contents)) + contents
    message = b"\x2a" + varint(len(whole)) + whole

    (found,) = cut_request(message, MOST_IMAGES).inputs

    assert b"".join(found.numbers) == b"\x07\xc8\x01\x01"


def test_what_is_not_known_is_passed_over() -> None:
    """Clients may be newer than the service."""
    unknown = b"\xfa\x3e\x03new" + b"\xf8\x3e\x07"

    found = cut_request(ModelInferRequest(model_name="m").SerializeToString() + unknown, 1)

    assert found.head.model_name == "m"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"\x2a\x00" * 9, "more than 8 inputs"),
        (b"\x3a\x00" * 9, "more than 8 inputs"),
        (b"\x32\x00" * (MOST_FIELDS + MOST_IMAGES + 1), "too many fields"),
        (b"\x2a\xd8\x0f" + b"\x22\x00" * 1004, "too many fields"),
        (b"\x0a" + varint(HEAD_BYTES) + bytes(HEAD_BYTES), "over 65536 bytes beside its tensors"),
        (b"\x0a\x01\xff", "the message is no ModelInferRequest"),
    ],
)
def test_what_would_take_much_more_than_its_bytes_is_refused(message: bytes, reason: str) -> None:
    """Before protobuf makes objects of it."""
    with pytest.raises(BadRequest, match=reason):
        cut_request(message, MOST_IMAGES)


@given(st.binary(max_size=64))
def test_whatever_protobuf_takes_is_cut_without_loss(message: bytes) -> None:
    """What is cut out and what is left are what protobuf reads, but for values merged twice."""
    try:
        found = cut_request(message, MOST_IMAGES)
    except BadRequest:
        return
    try:
        whole = ModelInferRequest.FromString(message)
    except DecodeError:  # it looks into what was cut out
        return
    assert [bytes(raw) for raw in found.raw] == list(whole.raw_input_contents)
    assert [tensor.head.name for tensor in found.inputs] == [t.name for t in whole.inputs]
    assert found.head.model_name == whole.model_name
