"""Requests of `/infer` as bytes: headers, raw tensors, lists, outputs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from service.api.v2.messages import parse_request
from service.api.v2.requests import InferRequest
from service.api.v2.tensors import TensorSpec
from service.errors import BadRequest

IMAGE = TensorSpec("IMAGE", "UINT8", (3, 1, 1))
FILE = TensorSpec("IMAGE", "BYTES", (1,))
PROBS = TensorSpec("PROBS", "FP32", (3,))
TOPS = (TensorSpec("TOP_INDEX", "INT32", (2,)), TensorSpec("TOP_LABEL", "BYTES", (2,)))

HEAD = {"name": "IMAGE", "datatype": "UINT8", "shape": [1, 3, 1, 1]}
LISTED = HEAD | {"data": [1, 2, 3]}
RAW = HEAD | {"parameters": {"binary_data_size": 3}}


def parse(
    body: bytes, length: str | None, image: TensorSpec, outputs: Sequence[TensorSpec]
) -> InferRequest:
    """Parse a request of at most four images."""
    return parse_request(body, length, image, outputs, limit_images=4)


def request(head: object = LISTED, **others: object) -> bytes:
    """The JSON of a request with one input."""
    return json.dumps({"inputs": [head], **others}).encode()


def test_raw_tensors_follow_the_json() -> None:
    """The header says where the JSON ends; all of it may be JSON as well."""
    text = request(RAW, id="seven")

    mixed = parse(text + b"\1\2\3", str(len(text)), IMAGE, [PROBS])
    listed = parse(request(), str(len(request())), IMAGE, [PROBS])
    bare = parse(request(), None, IMAGE, [PROBS])

    assert mixed.id == "seven"
    for asked in (mixed, listed, bare):
        assert asked.images.ravel().tolist() == [1, 2, 3]
        assert [(w.spec, w.is_binary, w.classes) for w in asked.outputs] == [(PROBS, False, 0)]
        assert asked.timeout_ms is None


def test_a_body_may_be_the_tensor_itself() -> None:
    """With a header of 0: one encoded picture, or rows of pixels; the reply is raw then."""
    picture = parse(b"GIF89a", "0", FILE, TOPS)
    pixels = parse(b"\1\2\3\4\5\6", "0", IMAGE, [PROBS])

    assert picture.images.tolist() == [[b"GIF89a"]]
    assert pixels.images.shape == (2, 3, 1, 1)
    assert all(wanted.is_binary for wanted in (*picture.outputs, *pixels.outputs))


@pytest.mark.parametrize(
    ("of_request", "of_output", "is_binary"),
    [
        ({}, None, False),
        ({"binary_data_output": True}, None, True),
        ({}, {}, False),
        ({"binary_data_output": True}, {}, True),
        ({"binary_data_output": True}, {"binary_data": False}, False),
        ({}, {"binary_data": True}, True),
    ],
)
def test_an_output_is_raw_where_it_is_asked_for(
    of_request: dict[str, Any],
    of_output: dict[str, Any] | None,
    is_binary: bool,  # noqa: FBT001 - pytest's parameter
) -> None:
    """The output's own word goes before the request's."""
    others: dict[str, object] = {"parameters": of_request}
    if of_output is not None:
        others["outputs"] = [{"name": "PROBS", "parameters": of_output}]

    (wanted,) = parse(request(**others), None, IMAGE, [PROBS]).outputs

    assert wanted.is_binary is is_binary


def test_outputs_come_in_the_order_asked_for() -> None:
    """Some of them, if the client likes."""
    names = ["TOP_LABEL", "TOP_INDEX"]
    body = request(outputs=[{"name": name} for name in names])

    assert [w.spec.name for w in parse(body, None, IMAGE, TOPS).outputs] == names


def test_a_priority_names_a_class() -> None:
    """1 the first, 3 the last; 0, as the protocol has it, the default."""
    named = [
        parse(request(parameters={"priority": level}), None, IMAGE, [PROBS]) for level in range(4)
    ]

    assert [asked.priority for asked in named] == [0, 1, 2, 3]


def test_a_timeout_is_in_microseconds() -> None:
    """0 means none."""
    timed = parse(request(parameters={"timeout": 1500}), None, IMAGE, [PROBS])
    untimed = parse(request(parameters={"timeout": 0}), None, IMAGE, [PROBS])

    assert (timed.timeout_ms, untimed.timeout_ms) == (1.5, None)


def test_null_means_that_nothing_was_given() -> None:
    """For whatever may be absent: clients fill in every field of their own structures."""
    output = {"name": "PROBS", "parameters": {"binary_data": None, "classification": None}}
    nothing = {"id": None, "parameters": {"timeout": None}, "outputs": [output]}
    head = LISTED | {"parameters": {"binary_data_size": None}}

    given = [
        parse(request(head, **nothing), None, IMAGE, [PROBS]),
        parse(request(LISTED | {"parameters": None}, outputs=None), None, IMAGE, [PROBS]),
        parse(request(), None, IMAGE, [PROBS]),
    ]

    assert len({(one.id, one.timeout_ms, one.outputs) for one in given}) == 1


def test_pixels_of_a_picture_may_be_lists_of_any_length() -> None:
    """An image of 224 px is half a megabyte of numbers, flat or nested, on one line or on many."""
    picture = TensorSpec("IMAGE", "UINT8", (3, 224, 224))
    pixels = np.arange(2 * 3 * 224 * 224).reshape(2, 3, 224, 224) % 256
    forms = [pixels.tolist(), pixels.ravel().tolist(), pixels.reshape(2, -1).tolist()]
    bodies = [
        json.dumps({"inputs": [HEAD | {"shape": list(pixels.shape), "data": form}]}, indent=indent)
        for form, indent in zip(forms, (None, 1, None), strict=True)
    ]

    for body in bodies:
        assert np.array_equal(parse(body.encode(), None, picture, [PROBS]).images, pixels)


@pytest.mark.parametrize("value", [9.5, 10**9, -1, 2**70, True, None, [1]])
def test_long_lists_hold_whole_numbers_of_the_datatype(value: object) -> None:
    """As short ones do: the last value of a thousand is looked at, too."""
    picture = TensorSpec("IMAGE", "UINT8", (3, 30, 30))
    data = [*[1] * 2699, value]
    body = request(HEAD | {"shape": [1, 3, 30, 30], "data": data})

    with pytest.raises(BadRequest, match=r"^IMAGE takes whole numbers from 0 to 255$"):
        parse(body, None, picture, [PROBS])


FLAG = {"name": "PROBS", "parameters": {"binary_data": "false"}}
LONG = 500_000  # values or bytes, beyond what may reach the parser
BAD = [
    (b"", None, "body: "),
    (b"[]", None, "body: "),
    (b"{}", None, "inputs: field required"),
    (b'{"inputs": []}', None, "the inputs are none, the model takes IMAGE"),
    (request(HEAD | {"name": "X"}), None, "the inputs are X, the model takes IMAGE"),
    (request(HEAD), None, "IMAGE has neither data nor a binary_data_size"),
    (request(LISTED | RAW), None, "IMAGE has both data and a binary_data_size"),
    (request(HEAD | {"shape": []}), None, "inputs.0.shape: "),
    (request(HEAD | {"shape": [2**80]}), None, "inputs.0.shape.0: "),
    (request(RAW), None, "the binary_data_size of IMAGE is 3, 0 bytes follow the JSON"),
    (request(RAW) + b"1234", str(len(request(RAW))), "the binary_data_size of IMAGE is 3, 4 bytes"),
    (request() + b"1", str(len(request())), "1 bytes are left behind the JSON"),
    (request(), "-1", "Inference-Header-Content-Length is '-1', the body has"),
    (request(), "x", "Inference-Header-Content-Length is 'x', the body has"),
    (request(), "\u00b2", "Inference-Header-Content-Length is '\u00b2', the body has"),
    (request(), "9" * 5000, "Inference-Header-Content-Length is '999"),
    (request(), str(len(request()) + 1), "Inference-Header-Content-Length is '"),
    (b"\1\2\3\4", "0", "the body has 4 bytes, an image takes 3"),
    (b"", "0", "the body has 0 bytes, an image takes 3"),
    (request(outputs=[{"name": "X"}]), None, "output 'X': each of PROBS may be there once"),
    (request(outputs=[{"name": "PROBS"}] * 2), None, "output 'PROBS': each of PROBS may be"),
    (request(parameters={"triton_x": 1}), None, "the request's parameter 'triton_x' is not"),
    (request(HEAD | {"shape": [10**4000, 3, 1, 1]}), None, "inputs.0.shape.0: "),
    (request(HEAD | {"datatype": "U" * 10**6}), None, f"IMAGE is {'U' * 20}, the model takes"),
    (request(HEAD | {"parameters": {"binary_data_size": "9" * 10**6}}), None, "the binary_data"),
    (request(LISTED | {"parameters": {"binary_data_size": 3.0}, "data": None}), None, "the binary"),
    (request(outputs=[FLAG]), None, "binary_data is 'false', it is true or false"),
    (request(parameters={"binary_data_output": 1}), None, "binary_data_output is 1, it is true or"),
    (
        request(LISTED | {"shape": ["1", 3, 1, 1]}),
        None,
        "inputs.0.shape.0: input should be a valid",
    ),
    (request(LISTED | {"shape": [True, 3, 1, 1]}), None, "inputs.0.shape.0: input should be a val"),
    (request(LISTED | {"name": None}), None, "inputs.0.name: field required"),
    (request(id=7), None, "id: input should be a valid string"),
    (request(id="7" * 300), None, "id: string should have at most 256 characters"),
    (request(id="7" * LONG), None, f"{LONG} bytes stand where so many do not belong: '777"),
    (request(LISTED | {"data": [0] * LONG}), None, "the JSON holds more than 1012 values"),
    (request(LISTED | {"data": "0" * LONG}), None, "inputs.0.data: input should be a valid ar"),
    (request(LISTED | {"data": [["0" * LONG]] * 3}), None, "IMAGE takes whole numbers from 0 to"),
    (request(LISTED | {"data": [0] * 900}), None, "IMAGE has 900 values, its shape [1, 3, 1, 1]"),
    (request(LISTED | {"data": [9.5] * 900}), None, "IMAGE has 900 values, its shape [1, 3, 1,"),
    (request(LISTED | {"shape": [9, 3, 1, 1]}), None, "the request holds 9 images, the limit is 4"),
    (b'{"inputs": [' + b'{"name": "' + b"x" * LONG + b'"}]}', None, "inputs.0.datatype: field"),
    (b'{"inputs": ' + b"[" * LONG, None, "the JSON holds more than"),
    (
        b'{"inputs": [' + b"[]," * 2000 * 2000 + b"[]]}",
        None,
        "the JSON holds more than 1012 values",
    ),
    (request([]), None, "inputs.0: "),
    (request(parameters={"timeout": -1}), None, "timeout is -1, the limit is 3600000000 us"),
    (request(parameters={"timeout": "1"}), None, "timeout is '1', the limit is"),
    (request(parameters={"priority": 4}), None, "priority is 4, there are 1 (first) to 3 (last)"),
    (request(parameters={"priority": True}), None, "priority is True, there are"),
    (request(parameters={"priority": "1"}), None, "priority is '1', there are"),
    (
        request(outputs=[{"name": "PROBS", "parameters": {"classification": -1}}]),
        None,
        "PROBS: classification -1 is not supported",
    ),
    # As fuzzing found it: a text, too long for JSON's parser, that holds a number.
    (request(HEAD | {"data": ["1" + " " * 1100]}), None, "IMAGE has 1 values"),
]


@pytest.mark.parametrize(("body", "length", "message"), BAD)
def test_what_does_not_hold_together_is_refused(
    body: bytes, length: str | None, message: str
) -> None:
    """Never by an error of the service's own."""
    with pytest.raises(BadRequest) as refusal:
        parse(body, length, IMAGE, [PROBS])

    assert refusal.value.message.startswith(message)
    assert len(refusal.value.message) < 300


def test_only_probabilities_are_classified() -> None:
    """The outputs of pictures are classes already."""
    wanted = [{"name": "TOP_LABEL", "parameters": {"classification": 1}}]
    with pytest.raises(BadRequest, match=r"^TOP_LABEL: classification 1 is not supported"):
        parse(request(outputs=wanted), None, IMAGE, TOPS)
