"""Requests of `/infer`: JSON, with raw tensors behind it where the client likes."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, FailFast, Field, model_validator

from service.api.json_cuts import ROOM_VALUES, CutJson, cut_json
from service.api.v2.requests import (
    LONGEST_ID,
    MOST_SIDES,
    MOST_TENSORS,
    InferRequest,
    Parameters,
    RequestedOutput,
    check_shape,
    read_outputs,
    read_priority,
    read_timeout,
    refuse_reserved,
    require_one_input,
    shown,
)
from service.api.v2.tensors import TensorSpec, Values, from_bytes, from_json
from service.errors import BadRequest

HEADER_LENGTH = "Inference-Header-Content-Length"


def without_nulls(given: Any) -> Any:
    """What was given without its nulls: they mean that nothing was given."""
    if isinstance(given, dict):
        return {name: value for name, value in given.items() if value is not None}
    return given


class Head(BaseModel):
    """An object of the protocol: of what it does not know it takes no notice."""

    model_config = ConfigDict(strict=True)

    _drop_nulls = model_validator(mode="before")(without_nulls)


Given = Annotated[dict[str, Any], BeforeValidator(without_nulls)]
Side = Annotated[int, Field(le=2**31 - 1)]


class InputHead(Head):
    """An input as the JSON announces it; its values are in `data` or behind the JSON."""

    name: str
    datatype: str
    shape: Annotated[list[Side], Field(min_length=1, max_length=MOST_SIDES), FailFast()]
    parameters: Given = Field(default_factory=dict)
    data: list[Any] | None = None


class OutputHead(Head):
    """An output that the request asks for."""

    name: str
    parameters: Given = Field(default_factory=dict)


class RequestHead(Head):
    """The JSON of a request."""

    id: Annotated[str, Field(max_length=LONGEST_ID)] = ""
    parameters: Given = Field(default_factory=dict)
    inputs: Annotated[list[InputHead], Field(max_length=MOST_TENSORS), FailFast()]
    outputs: Annotated[list[OutputHead], Field(max_length=MOST_TENSORS), FailFast()] = Field(
        default_factory=list
    )


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
    refuse_reserved(head.parameters)
    request = InferRequest(
        head.id,
        _read_image(head.inputs, image, memoryview(body)[size:], cut, limit_images),
        _read_outputs(head, outputs),
        read_timeout(head.parameters),
        read_priority(head.parameters),
    )
    cut.require_all_read()
    return request


def _parse_length(text: str | None, body_bytes: int) -> int:
    if text is None:
        return body_bytes
    if not (text.isascii() and text.isdecimal() and len(text) <= 12) or int(text) > body_bytes:
        raise BadRequest(f"{HEADER_LENGTH} is {shown(text)}, the body has {body_bytes} bytes")
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


def _read_image(
    inputs: Sequence[InputHead],
    image: TensorSpec,
    raw: memoryview,
    cut: CutJson,
    limit_images: int,
) -> Values:
    require_one_input([head.name for head in inputs], image)
    (head,) = inputs
    shape = check_shape(image, head.datatype, head.shape, limit_images)
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
            f"the binary_data_size of {image.name} is {shown(size)}, {len(raw)} bytes follow the "
            f"JSON"
        )
    return from_bytes(image, shape, raw)


def _read_outputs(head: RequestHead, outputs: Sequence[TensorSpec]) -> tuple[RequestedOutput, ...]:
    default = _read_flag(head.parameters, "binary_data_output", default=False)
    asked = [(output.name, output.parameters) for output in head.outputs]
    is_binary = functools.partial(_read_flag, name="binary_data", default=default)
    return read_outputs(asked, outputs, is_binary)


def _read_flag(parameters: Parameters, name: str, *, default: bool) -> bool:
    flag = parameters.get(name, default)
    if not isinstance(flag, bool):
        raise BadRequest(f"{name} is {shown(flag)}, it is true or false")
    return flag
