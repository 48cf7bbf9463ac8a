"""Requests of `ModelInfer`: a message whose tensors are raw, or lie in its `contents`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.api.v2.grpc.cut import CutInput, CutRequest
from service.api.v2.grpc.open_inference_pb2 import InferParameter
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
)
from service.api.v2.tensors import TensorSpec, Values, as_elements, from_bytes
from service.errors import BadRequest


def parse_request(
    cut: CutRequest, image: TensorSpec, outputs: Sequence[TensorSpec], limit_images: int
) -> InferRequest:
    """Read a request.

    Args:
        cut: the message.
        image: the model's input.
        outputs: the model's outputs, all of which go back as raw bytes.
        limit_images: in one request.

    Raises:
        BadRequest: anything that does not hold together.
    """
    if len(cut.head.id) > LONGEST_ID:
        raise BadRequest(f"the id has {len(cut.head.id)} characters, the limit is {LONGEST_ID}")
    parameters = _plain(cut.head.parameters)
    refuse_reserved(parameters)
    return InferRequest(
        cut.head.id,
        _read_image(cut, image, limit_images),
        _read_outputs(cut, outputs),
        read_timeout(parameters),
        read_priority(parameters),
    )


def is_quick(cut: CutRequest, image: TensorSpec) -> bool:
    """Whether nothing of a request is copied, however large it is."""
    return image.datatype != "BYTES" and not any(tensor.has_contents for tensor in cut.inputs)


def _plain(parameters: Mapping[str, InferParameter]) -> Parameters:
    """Parameters as JSON would have them; one without a value is none."""
    chosen = {name: given.WhichOneof("parameter_choice") for name, given in parameters.items()}
    return {name: getattr(parameters[name], choice) for name, choice in chosen.items() if choice}


def _read_outputs(cut: CutRequest, outputs: Sequence[TensorSpec]) -> tuple[RequestedOutput, ...]:
    if len(cut.head.outputs) > MOST_TENSORS:
        raise BadRequest(f"the request names more than {MOST_TENSORS} outputs")
    asked = [(output.name, _plain(output.parameters)) for output in cut.head.outputs]
    return read_outputs(asked, outputs, lambda _: True)


def _read_image(cut: CutRequest, image: TensorSpec, limit_images: int) -> Values:
    require_one_input([tensor.head.name for tensor in cut.inputs], image)
    (tensor,) = cut.inputs
    sides = list(tensor.head.shape)
    if not 1 <= len(sides) <= MOST_SIDES:
        raise BadRequest(f"the shape of {image.name} has {len(sides)} sides")
    shape = check_shape(image, tensor.head.datatype, sides, limit_images)
    if tensor.has_contents:
        if cut.raw:
            raise BadRequest(f"{image.name} has contents, and there are raw_input_contents")
        return _from_contents(tensor, image, shape)
    if len(cut.raw) != 1:
        raise BadRequest(
            f"{image.name} has no contents, and there are {len(cut.raw)} raw_input_contents"
        )
    return from_bytes(image, shape, cut.raw[0])


def _from_contents(tensor: CutInput, image: TensorSpec, shape: tuple[int, ...]) -> Values:
    if image.datatype == "BYTES":
        _require_count(image, shape, len(tensor.elements))
        return as_elements(map(bytes, tensor.elements), shape)
    count = math.prod(shape)
    if sum(map(len, tensor.numbers)) > 2 * count:  # a number up to 255 takes two bytes at most
        raise BadRequest(f"{image.name} has more values than its shape {list(shape)} takes")
    values = [_unpack(image, numbers) for numbers in tensor.numbers]
    _require_count(image, shape, sum(map(len, values)))
    return np.concatenate(values).reshape(shape)


def _require_count(image: TensorSpec, shape: tuple[int, ...], count: int) -> None:
    if count != math.prod(shape):
        raise BadRequest(
            f"{image.name} has {count} values, its shape {list(shape)} takes {math.prod(shape)}"
        )


def _unpack(image: TensorSpec, packed: memoryview) -> NDArray[np.uint8]:
    """Read numbers up to 255: of those from 128 on, a byte of seven bits goes before the eighth."""
    raw: NDArray[Any] = np.frombuffer(packed, np.uint8)
    goes_on = raw > 127
    follows = np.zeros_like(goes_on)
    follows[1:] = goes_on[:-1]
    is_long = (goes_on & follows).any() or (raw[follows] > 1).any()
    if is_long or (len(raw) and goes_on[-1]):
        raise BadRequest(f"{image.name} takes whole numbers from 0 to 255")
    values = raw.copy()
    seconds = np.flatnonzero(follows)
    values[seconds] = (raw[seconds] << 7) | (raw[seconds - 1] & 127)
    return values[~goes_on]
