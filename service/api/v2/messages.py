"""Requests of `/infer`: JSON, with raw tensors behind it where the client likes."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, FailFast, Field, model_validator

from service.api.json_cuts import ROOM_VALUES, CutJson, cut_json
from service.api.v2.tensors import (
    TensorSpec,
    Values,
    from_bytes,
    from_json,
)
from service.errors import BadRequest
from service.serving.turns import LOWEST_PRIORITY

HEADER_LENGTH = "Inference-Header-Content-Length"
LONGEST_ID = 256
LONGEST_TIMEOUT_US = 3_600_000_000


def without_nulls(given: Any) -> Any:
    """What was given without its nulls: they mean that nothing was given."""
    if isinstance(given, dict):
        return {name: value for name, value in given.items() if value is not None}
    return given


class Head(BaseModel):
    """An object of the protocol: of what it does not know it takes no notice."""

    model_config = ConfigDict(strict=True)

    _drop_nulls = model_validator(mode="before")(without_nulls)


Parameters = Annotated[dict[str, Any], BeforeValidator(without_nulls)]
Side = Annotated[int, Field(le=2**31 - 1)]


class InputHead(Head):
    """An input as the JSON announces it; its values are in `data` or behind the JSON."""

    name: str
    datatype: str
    shape: Annotated[list[Side], Field(min_length=1, max_length=8), FailFast()]
    parameters: Parameters = Field(default_factory=dict)
    data: list[Any] | None = None


class OutputHead(Head):
    """An output that the request asks for."""

    name: str
    parameters: Parameters = Field(default_factory=dict)


class RequestHead(Head):
    """The JSON of a request."""

    id: Annotated[str, Field(max_length=LONGEST_ID)] = ""
    parameters: Parameters = Field(default_factory=dict)
    inputs: Annotated[list[InputHead], Field(max_length=8), FailFast()]
    outputs: Annotated[list[OutputHead], Field(max_length=8), FailFast()] = Field(
        default_factory=list
    )


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
        priority: its class, 1 the most important; 0 for none named.
    """

    id: str
    images: Values
    outputs: tuple[RequestedOutput, ...]
    timeout_ms: float | None
    priority: int = 0


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
    limit_values = limit_images * math.prod(image.dims) + ROOM_VALUES
    cut = cut_json(body, size, limit_images, limit_values)
    head = cut.parse(RequestHead)
    _refuse_reserved(head.parameters)
    request = InferRequest(
        head.id,
        _read_image(head.inputs, image, memoryview(body)[size:], cut, limit_images),
        _read_outputs(head, outputs),
        _read_timeout(head.parameters),
        _read_priority(head.parameters),
    )
    cut.require_all_read()
    return request


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


def _read_image(
    inputs: Sequence[InputHead],
    image: TensorSpec,
    raw: memoryview,
    cut: CutJson,
    limit_images: int,
) -> Values:
    if [head.name for head in inputs] != [image.name]:
        named = ", ".join(head.name[:80] for head in inputs) or "none"
        raise BadRequest(f"the inputs are {named}, the model takes {image.name}")
    (head,) = inputs
    shape = image.check(head.datatype, head.shape)
    if shape[0] > limit_images:  # before they are read
        raise BadRequest(f"the request holds {shape[0]} images, the limit is {limit_images}")
    size = head.parameters.get("binary_data_size")
    if size is None and head.data is None:
        raise BadRequest(f"{image.name} has neither data nor a binary_data_size")
    if size is not None and head.data is not None:
        raise BadRequest(f"{image.name} has both data and a binary_data_size")
    if head.data is not None:
        if len(raw):
            raise BadRequest(f"{len(raw)} bytes are left behind the JSON")
        return from_json(image, shape, head.data, cut)
    if size != len(raw) or type(size) is not int:
        raise BadRequest(
            f"the binary_data_size of {image.name} is {_shown(size)}, {len(raw)} bytes follow the "
            f"JSON"
        )
    return from_bytes(image, shape, raw)


def _read_outputs(head: RequestHead, outputs: Sequence[TensorSpec]) -> tuple[RequestedOutput, ...]:
    specs = {spec.name: spec for spec in outputs}
    is_binary = _read_flag(head.parameters, "binary_data_output", default=False)
    heads = head.outputs or [OutputHead(name=name) for name in specs]
    names = [output.name for output in heads]
    for name in names:
        if name not in specs or names.count(name) > 1:
            raise BadRequest(f"output {name[:80]!r}: each of {', '.join(specs)} may be there once")
    return tuple(
        RequestedOutput(
            specs[output.name],
            _read_flag(output.parameters, "binary_data", default=is_binary),
            _read_classes(specs[output.name], output.parameters.get("classification", 0)),
        )
        for output in heads
    )


def _read_flag(parameters: Parameters, name: str, *, default: bool) -> bool:
    flag = parameters.get(name, default)
    if not isinstance(flag, bool):
        raise BadRequest(f"{name} is {_shown(flag)}, it is true or false")
    return flag


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


def _read_priority(parameters: Parameters) -> int:
    priority = parameters.get("priority", 0)
    is_number = isinstance(priority, int) and not isinstance(priority, bool)
    if not is_number or not 0 <= priority <= LOWEST_PRIORITY:
        raise BadRequest(
            f"priority is {_shown(priority)}, there are 1 (first) to {LOWEST_PRIORITY} (last)"
        )
    return int(priority)


def _shown(value: object) -> str:
    """What a client sent, short enough to be sent back."""
    return reprlib.repr(value)
