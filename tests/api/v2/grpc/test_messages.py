"""Requests of `ModelInfer`, and what does not hold together in them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.v2.grpc.cut import cut_request
from service.api.v2.grpc.messages import is_quick, parse_request
from service.api.v2.grpc.open_inference_pb2 import ModelInferRequest
from service.api.v2.requests import InferRequest, RequestedOutput
from service.api.v2.tensors import TensorSpec
from service.errors import BadRequest
from tests.api.v2.grpc.calling import input_of, pictures, pixels

MOST_IMAGES = 4
PIXELS = TensorSpec("IMAGE", "UINT8", (3, 2, 2))
FILE = TensorSpec("IMAGE", "BYTES", (1,))
PROBS = TensorSpec("PROBS", "FP32", (3,))
TOP = TensorSpec("TOP_INDEX", "INT32", (2,))


def parse(message: ModelInferRequest, image: TensorSpec = PIXELS) -> InferRequest:
    """Read a message."""
    cut = cut_request(message.SerializeToString(), MOST_IMAGES)
    return parse_request(cut, image, (PROBS, TOP), MOST_IMAGES)


def listed(*values: int, shape: Any = (1, 3, 2, 2)) -> ModelInferRequest:
    """A request with numbers in its contents."""
    tensor = input_of("UINT8", shape)
    tensor.contents.uint_contents.extend(values)
    return ModelInferRequest(model_name="m", inputs=[tensor])


def test_a_request_is_read() -> None:
    """Pixels as they came, every output as raw bytes, the deadline in milliseconds."""
    parameters = {"timeout": {"int64_param": 1500}, "priority": {"uint64_param": 1}}
    message = pixels(7, 9, side_px=2, id="x", parameters=parameters)

    request = parse(message)

    assert (request.id, request.timeout_ms) == ("x", 1.5)
    assert request.images[:, 0, 0, 0].tolist() == [7, 9]
    assert not request.images.flags.owndata
    assert request.outputs == (
        RequestedOutput(PROBS, is_binary=True, classes=0),
        RequestedOutput(TOP, is_binary=True, classes=0),
    )


def test_outputs_are_chosen_by_name() -> None:
    """In the client's order, as classes where it wants those."""
    message = pixels(7, side_px=2)
    message.outputs.add(name="TOP_INDEX")
    message.outputs.add(name="PROBS").parameters["classification"].int64_param = 2

    assert [(o.spec.name, o.classes) for o in parse(message).outputs] == [
        ("TOP_INDEX", 0),
        ("PROBS", 2),
    ]


@given(st.lists(st.integers(0, 255), min_size=12, max_size=12))
def test_listed_numbers_are_what_protobuf_packed(values: list[int]) -> None:
    """Of one byte and of two."""
    assert parse(listed(*values)).images.ravel().tolist() == values


def test_files_come_listed_or_raw() -> None:
    """Raw, each has its length before it."""
    raw = ModelInferRequest(
        inputs=[input_of("BYTES", [2])], raw_input_contents=[b"\1\0\0\0a\2\0\0\0bc"]
    )

    assert parse(pictures(b"a", b"bc"), FILE).images.ravel().tolist() == [b"a", b"bc"]
    assert parse(raw, FILE).images.ravel().tolist() == [b"a", b"bc"]


def test_only_raw_pixels_are_quick() -> None:
    """Everything else is copied, and large ones of it on a thread."""
    raw, contents = pixels(1, side_px=2), listed(*range(12))

    quick = [
        is_quick(cut_request(message.SerializeToString(), MOST_IMAGES), image)
        for message, image in ((raw, PIXELS), (contents, PIXELS), (pictures(b"a"), FILE))
    ]

    assert quick == [True, False, False]


def without_input() -> ModelInferRequest:
    """A request of nothing."""
    return ModelInferRequest(model_name="m")


def raw_of(size: int, *shape: int, count: int = 1) -> ModelInferRequest:
    """A request with so many raw bytes."""
    return ModelInferRequest(
        inputs=[input_of("UINT8", shape)], raw_input_contents=[bytes(size)] * count
    )


def both() -> ModelInferRequest:
    """Contents beside raw bytes."""
    message = listed(*range(12))
    message.raw_input_contents.append(bytes(12))
    return message


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (without_input(), "the inputs are none, the model takes IMAGE"),
        (raw_of(12, 1, 3, 2, 2, count=2), "no contents, and there are 2 raw_input_contents"),
        (raw_of(12, 1, 3, 2, 2, count=0), "no contents, and there are 0 raw_input_contents"),
        (raw_of(11, 1, 3, 2, 2), "IMAGE has 11 bytes, its shape [1, 3, 2, 2] takes 12"),
        (raw_of(12, -1, 3, 2, 2), "IMAGE is of shape [-1, 3, 2, 2], the model takes"),
        (raw_of(12, 2**62, 3, 2, 2), "the request holds 4611686018427387904 images"),
        (raw_of(12), "the shape of IMAGE has 0 sides"),
        (raw_of(12, *[1] * 9), "the shape of IMAGE has 9 sides"),
        (raw_of(60, 5, 3, 2, 2), "the request holds 5 images, the limit is 4"),
        (both(), "IMAGE has contents, and there are raw_input_contents"),
        (listed(*range(11)), "IMAGE has 11 values, its shape [1, 3, 2, 2] takes 12"),
        (listed(*[1] * 25), "IMAGE has more values than its shape"),
        (listed(*[256] * 12), "IMAGE takes whole numbers from 0 to 255"),
        (listed(*[1] * 9, 2**31), "IMAGE takes whole numbers from 0 to 255"),
        (pictures(b"x"), "IMAGE is BYTES, the model takes UINT8"),
        (pixels(1, side_px=2, id="x" * 257), "the id has 257 characters, the limit is 256"),
        (
            pixels(1, side_px=2, parameters={"triton_enable": {"bool_param": True}}),
            "the request's parameter 'triton_enable' is not supported",
        ),
        (
            pixels(1, side_px=2, parameters={"timeout": {"string_param": "5"}}),
            "timeout is '5', the limit is",
        ),
    ],
)
def test_what_does_not_hold_together_is_told(message: ModelInferRequest, reason: str) -> None:
    """By its place."""
    with pytest.raises(BadRequest) as told:
        parse(message)

    assert reason in told.value.message


def test_too_many_outputs_are_refused() -> None:
    """Before any of them is looked up."""
    message = pixels(1, side_px=2)
    for _ in range(9):
        message.outputs.add(name="PROBS")

    with pytest.raises(BadRequest, match="more than 8 outputs"):
        parse(message)


def test_a_parameter_without_a_value_is_none() -> None:
    """As a null in JSON is."""
    message = pixels(1, side_px=2, parameters={"timeout": {}})

    assert parse(message).timeout_ms is None
