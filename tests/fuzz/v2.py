"""Requests of the Open Inference Protocol: whatever the bytes, a message or an error that is told.

The first byte of an input says which of a model's two inputs is meant and how long the JSON is
said to be; then come a byte or two for that, and the body.
"""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
from pydantic_core import from_json

from service.api.json_cuts import STEP_BYTES, CutJson, cut_json
from service.api.v2.messages import parse_request
from service.api.v2.requests import InferRequest
from service.api.v2.tensors import TensorSpec
from service.errors import BadInput

LONGEST_BYTES = 8192
MOST_IMAGES = 4
SHORT_STEP = 64
REFUSED, TOO_LONG = "refused", "a value is longer than a step"

PIXELS = TensorSpec("IMAGE", "UINT8", (3, 2, 2))
FILE = TensorSpec("IMAGE", "BYTES", (1,))
PROBS = TensorSpec("PROBS", "FP32", (3,))
TOPS = (TensorSpec("TOP_INDEX", "INT32", (2,)), TensorSpec("TOP_LABEL", "BYTES", (2,)))
TOKENS = (
    *(b'"inputs"', b'"outputs"', b'"parameters"', b'"id"', b'"name"', b'"datatype"', b'"shape"'),
    *(b'"data"', b'"binary_data_size"', b'"binary_data"', b'"binary_data_output"'),
    *(b'"classification"', b'"timeout"', b'"triton_enable"', b'"IMAGE"', b'"PROBS"'),
    *(b'"UINT8"', b'"BYTES"', b"true", b"false", b"null", b"NaN", b"-Infinity", b"1e400"),
    *(b"[[", b"]]", b"\\u0000", b"\\ud800", b'\\"', b"18446744073709551616", b"-1", b"0.5"),
)


def prepare() -> None:
    """Nothing is needed."""


def check(data: bytes) -> None:
    """Parse a request; what is accepted must mean what its JSON says, in steps of any size.

    Raises:
        Exception: it ended in anything but a sound message or a `BadInput`.
    """
    image, length, body = _split(data)
    outputs = (PROBS,) if image is PIXELS else TOPS
    _check_steps(body)
    try:
        request = parse_request(body, length, image, outputs, MOST_IMAGES)
    except BadInput:
        return
    _check_request(request, image, body, length)


def _split(data: bytes) -> tuple[TensorSpec, str | None, bytes]:
    """The input that is meant, the header of the JSON's length, and the body."""
    mode = data[0] if data else 0
    image = PIXELS if mode & 1 else FILE
    match (mode >> 1) % 3:
        case 0:
            return image, None, data[1:]
        case 1:
            return image, str(int.from_bytes(data[1:3])), data[3:]
        case _:
            size = data[1] % 16 if len(data) > 1 else 0
            return image, data[2 : 2 + size].decode("latin-1"), data[2 + size :]


def _check_request(
    request: InferRequest, image: TensorSpec, body: bytes, length: str | None
) -> None:
    batch, *dims = request.images.shape
    assert batch >= 1
    assert tuple(dims) == image.dims
    assert request.outputs
    assert request.timeout_ms is None or request.timeout_ms > 0
    if length is None or int(length):
        assert batch <= MOST_IMAGES
        _check_json(request, image, from_json(body[: len(body) if length is None else int(length)]))


def _check_json(request: InferRequest, image: TensorSpec, whole: dict[str, Any]) -> None:
    """Hold the message to the JSON as it was before anything was cut out of it."""
    (given,) = whole["inputs"]
    assert request.id == (whole.get("id") or "")
    if image is PIXELS and given.get("data") is not None:
        values = _flat(given["data"])
        assert request.images.dtype == np.uint8
        assert request.images.ravel().tolist() == values


def _check_steps(body: bytes) -> None:
    """Read what is cut out of a JSON in short steps: that changes nothing but what they hold."""
    try:
        cuts = cut_json(body, len(body), MOST_IMAGES, len(body)).cuts
    except BadInput:
        return
    for text in cuts.values():
        assert _numbers_of(text, SHORT_STEP) in (_numbers_of(text, STEP_BYTES), TOO_LONG)
        assert _base64_of(text, SHORT_STEP) == _base64_of(text, STEP_BYTES)


def _numbers_of(text: memoryview, step_bytes: int) -> list[int] | str:
    cut = CutJson(b"", {"mark": text}, step_bytes)
    try:
        values = list(itertools.chain.from_iterable(cut.read_numbers(["mark"]) or [["a text"]]))
    except BadInput as error:
        return TOO_LONG if error.message.endswith(f"more than {step_bytes} bytes") else REFUSED
    return values if {*map(type, values)} <= {int} else REFUSED  # later, where types are checked


def _base64_of(text: memoryview, step_bytes: int) -> bytes | str:
    try:
        return CutJson(b"", {"mark": text}, step_bytes).read_base64("mark")
    except ValueError:
        return REFUSED


def _flat(values: list[Any]) -> list[Any]:
    while values and isinstance(values[0], list):
        values = list(itertools.chain.from_iterable(values))
    return values


def seeds() -> list[bytes]:
    """Requests as clients send them, and nearly so."""
    pixels = {"name": "IMAGE", "datatype": "UINT8", "shape": [1, 3, 2, 2]}
    file = {"name": "IMAGE", "datatype": "BYTES", "shape": [1, 1]}
    listed = pixels | {"data": list(range(12))}
    nested = pixels | {"data": [[[[1, 2], [3, 4]]] * 3]}
    spaced = pixels | {"shape": [2, 3, 2, 2], "data": [7] * 24}
    texts = [
        _json(listed),
        _json(nested, id="seven", parameters={"timeout": 1000, "binary_data_output": True}),
        _json(listed, outputs=[{"name": "PROBS", "parameters": {"classification": 2}}]),
        json.dumps({"inputs": [spaced]}, indent=20).encode(),
        json.dumps({"inputs": [nested | {"data": nested["data"]}]}, indent=30).encode(),
    ]
    encoded = [
        _json(file | {"data": ["R0lGODlh"]}),
        _json(file | {"data": [["R0lGODlhR0lG" * 120]]}),
        _json(file | {"shape": [2], "data": ["R0lGODlh", "R0lGOD-_"]}, outputs=[]),
    ]
    raw = _json(pixels | {"parameters": {"binary_data_size": 12}})
    raw_file = _json(file | {"parameters": {"binary_data_size": 10}})
    return [
        *(b"\1" + text for text in texts),
        *(b"\0" + text for text in encoded),
        b"\3" + len(raw).to_bytes(2) + raw + bytes(12),
        b"\2" + len(raw_file).to_bytes(2) + raw_file + b"\6\0\0\0GIF89a",
        b"\5\1" + b"0" + bytes(24),
        b"\4\1" + b"0" + b"GIF89a",
        b"",
    ]


def _json(image: dict[str, Any], **others: Any) -> bytes:
    return json.dumps({"inputs": [image], **others}).encode()
