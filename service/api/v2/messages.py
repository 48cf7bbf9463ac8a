"""Requests and replies of `/infer`: JSON, with raw tensors behind it where they are asked for."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import orjson
from pydantic import BaseModel, Field, ValidationError

from service.api.v2.tensors import (
    DataType,
    TensorSpec,
    Values,
    from_bytes,
    from_json,
    to_bytes,
    to_json,
)
from service.errors import BadRequest

HEADER_LENGTH = "Inference-Header-Content-Length"
ROOM_FOR_NAMES = 1000  # values of a request's JSON beside those of its tensor
LONGEST_TIMEOUT_US = 3_600_000_000

Parameters = dict[str, Any]
Side = Annotated[int, Field(le=2**31 - 1)]


class InputHead(BaseModel):
    """An input as the JSON announces it; its values are in `data` or behind the JSON."""

    name: str
    datatype: str
    shape: Annotated[list[Side], Field(min_length=1, max_length=8)]
    parameters: Parameters = Field(default_factory=dict)
    data: list[Any] | None = None


class OutputHead(BaseModel):
    """An output that the request asks for."""

    name: str
    parameters: Parameters = Field(default_factory=dict)


class RequestHead(BaseModel):
    """The JSON of a request."""

    id: str = ""
    parameters: Parameters = Field(default_factory=dict)
    inputs: Annotated[list[InputHead], Field(max_length=8)]
    outputs: Annotated[list[OutputHead], Field(max_length=8)] = Field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """An output, and how the client wants it.

    Attributes:
        spec: of the output.
        is_binary: behind the JSON rather than in it.
        classes: the best so many as text, `score:index:label`, in place of the numbers; 0: not so.
    """

    spec: TensorSpec
    is_binary: bool
    classes: int


@dataclass(frozen=True, slots=True)
class InferRequest:
    """What a client wants of a model.

    Attributes:
        id: the client's, to be echoed; empty for none.
        images: values of the model's one input, the batch first.
        outputs: in the order of the reply.
        timeout_ms: for how long the answer is of use, if the client says.
    """

    id: str
    images: Values
    outputs: tuple[RequestedOutput, ...]
    timeout_ms: float | None


def parse_request(
    body: bytes,
    header_length: str | None,
    image: TensorSpec,
    outputs: Sequence[TensorSpec],
    limit_images: int,
) -> InferRequest:
    """Read the body of a request.

    Args:
        body: JSON, and raw tensors behind it.
        header_length: bytes of the JSON as the header says; none where there is nothing else, 0
            where there is no JSON and the body is the raw input.
        image: the model's input.
        outputs: the model's outputs.
        limit_images: in one request.

    Raises:
        BadRequest: anything that does not hold together, by its place.
    """
    size = _parse_length(header_length, len(body))
    if header_length is not None and size == 0:
        output = tuple(RequestedOutput(spec, is_binary=True, classes=0) for spec in outputs)
        return InferRequest("", _whole_body(image, body), output, None)
    most = limit_images * math.prod(image.dims) + ROOM_FOR_NAMES
    if body.count(b",", 0, size) > most:  # before an object is made of each
        raise BadRequest(f"the JSON holds more than {most} values")
    try:
        head = RequestHead.model_validate_json(body[:size])
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"]) or "body"
        raise BadRequest(f"{place}: {first['msg'].lower()}") from error
    _refuse_reserved(head.parameters)
    return InferRequest(
        head.id,
        _read_image(head.inputs, image, memoryview(body)[size:]),
        _read_outputs(head, outputs),
        _read_timeout(head.parameters),
    )


def _parse_length(text: str | None, body_bytes: int) -> int:
    if text is None:
        return body_bytes
    if not (text.isascii() and text.isdecimal() and len(text) <= 12) or int(text) > body_bytes:
        raise BadRequest(f"{HEADER_LENGTH} is {_shown(text)}, the body has {body_bytes} bytes")
    return int(text)


def _whole_body(image: TensorSpec, body: bytes) -> Values:
    """Read a body without JSON: one encoded picture, or the pixels of any number of them."""
    if image.datatype == "BYTES":
        element = np.empty((1, 1), dtype=object)
        element[0, 0] = body
        return element
    row_bytes = math.prod(image.dims)
    rows, rest = divmod(len(body), row_bytes)
    if rest or not rows:
        raise BadRequest(f"the body has {len(body)} bytes, an image takes {row_bytes}")
    return from_bytes(image, (rows, *image.dims), memoryview(body))


def _refuse_reserved(parameters: Parameters) -> None:
    for name in parameters:
        if name.startswith("triton_"):  # reserved
            raise BadRequest(f"the request's parameter {name[:80]!r} is not supported")


def _read_image(inputs: Sequence[InputHead], image: TensorSpec, raw: memoryview) -> Values:
    if [head.name for head in inputs] != [image.name]:
        named = ", ".join(head.name[:80] for head in inputs) or "none"
        raise BadRequest(f"the inputs are {named}, the model takes {image.name}")
    (head,) = inputs
    shape = image.check(head.datatype, head.shape)
    size = head.parameters.get("binary_data_size")
    if size is None and head.data is None:
        raise BadRequest(f"{image.name} has neither data nor a binary_data_size")
    if size is not None and head.data is not None:
        raise BadRequest(f"{image.name} has both data and a binary_data_size")
    if head.data is not None:
        if len(raw):
            raise BadRequest(f"{len(raw)} bytes are left behind the JSON")
        return from_json(image, shape, head.data)
    if size != len(raw) or isinstance(size, bool):
        raise BadRequest(
            f"the binary_data_size of {image.name} is {_shown(size)}, {len(raw)} bytes follow the "
            f"JSON"
        )
    return from_bytes(image, shape, raw)


def _read_outputs(head: RequestHead, outputs: Sequence[TensorSpec]) -> tuple[RequestedOutput, ...]:
    specs = {spec.name: spec for spec in outputs}
    is_binary = bool(head.parameters.get("binary_data_output", False))
    heads = head.outputs or [OutputHead(name=name) for name in specs]
    names = [output.name for output in heads]
    for name in names:
        if name not in specs or names.count(name) > 1:
            raise BadRequest(f"output {name[:80]!r}: each of {', '.join(specs)} may be there once")
    return tuple(
        RequestedOutput(
            specs[output.name],
            bool(output.parameters.get("binary_data", is_binary)),
            _read_classes(specs[output.name], output.parameters.get("classification", 0)),
        )
        for output in heads
    )


def _read_classes(spec: TensorSpec, classes: object) -> int:
    is_count = isinstance(classes, int) and not isinstance(classes, bool) and classes >= 0
    if not is_count or (classes and spec.name != "PROBS"):
        raise BadRequest(f"{spec.name}: classification {_shown(classes)} is not supported")
    return min(int(classes), *spec.dims)  # type: ignore[call-overload, no-any-return]


def _read_timeout(parameters: Parameters) -> float | None:
    microseconds = parameters.get("timeout")
    if microseconds is None or microseconds == 0:  # 0 is the protocol's word for none
        return None
    is_number = isinstance(microseconds, int) and not isinstance(microseconds, bool)
    if not is_number or not 0 < microseconds <= LONGEST_TIMEOUT_US:
        raise BadRequest(f"timeout is {_shown(microseconds)}, the limit is {LONGEST_TIMEOUT_US} us")
    return float(microseconds) / 1000


def _shown(value: object) -> str:
    """What a client sent, short enough to be sent back."""
    return reprlib.repr(value)


@dataclass(frozen=True, slots=True)
class EncodedReply:
    """A reply's bytes, and how long its JSON is where raw tensors follow it."""

    content: bytes
    json_bytes: int | None


def encode_reply(
    names: tuple[str, str],
    request: InferRequest,
    values: Mapping[str, Values],
    labels: Sequence[str],
) -> EncodedReply:
    """Write a reply.

    Args:
        names: of the model and its version.
        request: says which outputs, and how.
        values: of every output of the model.
        labels: of the classes, for text.
    """
    heads: list[dict[str, Any]] = []
    raw: list[bytes] = []
    for output in request.outputs:
        datatype, shown = _as_wanted(output, values[output.spec.name], labels)
        head: dict[str, Any] = {
            "name": output.spec.name,
            "datatype": datatype,
            "shape": list(shown.shape),
        }
        if output.is_binary:
            raw.append(to_bytes(datatype, shown))
            head["parameters"] = {"binary_data_size": len(raw[-1])}
        else:
            head["data"] = to_json(datatype, shown)
        heads.append(head)
    body = {"model_name": names[0], "model_version": names[1], "outputs": heads}
    if request.id:
        body["id"] = request.id
    text = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
    return EncodedReply(b"".join((text, *raw)), len(text) if raw else None)


def _as_wanted(
    output: RequestedOutput, values: Values, labels: Sequence[str]
) -> tuple[DataType, Values]:
    """Give values as they are or, as the classification extension has it, as text: (B, k)."""
    if not output.classes:
        return output.spec.datatype, values
    best = np.argsort(-values, axis=1, kind="stable")[:, : output.classes]
    texts = np.empty(best.shape, dtype=object)
    for (row, rank), index in np.ndenumerate(best):
        texts[row, rank] = f"{values[row, index]:f}:{index}:{labels[int(index)]}".encode()
    return "BYTES", texts
