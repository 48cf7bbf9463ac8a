"""Tensors of the protocol: numbers in JSON or raw bytes on the wire, arrays inside.

B: batch.
"""

from __future__ import annotations

import math
import reprlib
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from service.api.json_cuts import CutJson, flattened
from service.errors import BadRequest

DataType = Literal["UINT8", "INT32", "FP32", "BYTES"]
_DTYPES: dict[str, np.dtype[Any]] = {
    "UINT8": np.dtype("u1"),
    "INT32": np.dtype("<i4"),
    "FP32": np.dtype("<f4"),
}

Values = NDArray[Any]
"""A tensor's values; those of BYTES are an array of objects, each of type bytes."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output of a model.

    Attributes:
        name: by which requests mean it.
        datatype: of its values.
        dims: its shape without the batch, which comes first.
    """

    name: str
    datatype: DataType
    dims: tuple[int, ...]

    def check(self, datatype: str, shape: Sequence[int]) -> tuple[int, ...]:
        """Compare with what a request announces.

        Returns:
            The announced shape, of BYTES (B,) as (B, 1).

        Raises:
            BadRequest: another datatype, or a shape that does not fit.
        """
        if datatype != self.datatype:
            raise BadRequest(f"{self.name} is {datatype[:20]}, the model takes {self.datatype}")
        if self.datatype == "BYTES" and len(shape) == 1:
            shape = (*shape, 1)
        if tuple(shape[1:]) != self.dims or shape[0] < 1:
            wanted = ", ".join(str(side) for side in ("batch", *self.dims))
            raise BadRequest(f"{self.name} is of shape {list(shape)}, the model takes [{wanted}]")
        return tuple(shape)


def from_bytes(spec: TensorSpec, shape: tuple[int, ...], raw: memoryview) -> Values:
    """Read raw bytes: row-major, little-endian, BYTES each with its length before it.

    Returns:
        An array of the shape; numbers are not copied.

    Raises:
        BadRequest: too few bytes, or too many.
    """
    count = math.prod(shape)
    if spec.datatype == "BYTES":
        return as_elements(_split(spec.name, raw, count), shape)
    dtype = _DTYPES[spec.datatype]
    if len(raw) != count * dtype.itemsize:
        raise BadRequest(
            f"{spec.name} has {len(raw)} bytes, its shape {list(shape)} takes "
            f"{count * dtype.itemsize}"
        )
    return np.frombuffer(raw, dtype).reshape(shape)


def _split(name: str, raw: memoryview, count: int) -> list[bytes]:
    elements: list[bytes] = []
    offset = 0
    while offset < len(raw):
        if len(elements) == count or len(raw) - offset < 4:
            raise BadRequest(f"{name} has {len(raw) - offset} bytes after {len(elements)} elements")
        (length,) = struct.unpack_from("<I", raw, offset)
        offset += 4
        if length > len(raw) - offset:
            raise BadRequest(
                f"element {len(elements)} of {name} is to have {length} bytes, "
                f"{len(raw) - offset} are left"
            )
        elements.append(bytes(raw[offset : offset + length]))
        offset += length
    if len(elements) < count:
        raise BadRequest(f"{name} has {len(elements)} elements, its shape takes {count}")
    return elements


def from_json(spec: TensorSpec, shape: tuple[int, ...], data: list[Any], cut: CutJson) -> Values:
    """Read lists, nested or flat: of numbers, or of base64 texts for BYTES.

    Args:
        spec: of the tensor.
        shape: as it was checked.
        data: the lists, or the mark of what was cut out of the JSON.
        cut: what was.

    Raises:
        BadRequest: other values than the datatype's, or not as many as fit.
    """
    steps = None if spec.datatype == "BYTES" else cut.read_numbers(data)
    if steps is not None:
        return _joined(spec, shape, steps)
    values = flattened(data)
    _require_count(spec, shape, len(values))
    if spec.datatype == "BYTES":
        return as_elements((_from_base64(spec.name, text, cut) for text in values), shape)
    return _whole_numbers(spec, values).reshape(shape)


def _joined(spec: TensorSpec, shape: tuple[int, ...], steps: Iterator[list[Any]]) -> Values:
    """Read the numbers of a long list, and no more of them than fit."""
    parts: list[Values] = []
    count = 0
    for step in steps:
        count += len(step)
        if count > math.prod(shape):
            break
        parts.append(_whole_numbers(spec, step))
    _require_count(spec, shape, count)
    return np.concatenate(parts).reshape(shape)


def _whole_numbers(spec: TensorSpec, values: list[Any]) -> Values:
    dtype = _DTYPES[spec.datatype]
    limits = np.iinfo(dtype)
    numbers = np.array(values if {*map(type, values)} == {int} else [limits.max + 1])
    if numbers.min() < limits.min or numbers.max() > limits.max:
        raise BadRequest(f"{spec.name} takes whole numbers from {limits.min} to {limits.max}")
    return numbers.astype(dtype)


def _require_count(spec: TensorSpec, shape: tuple[int, ...], count: int) -> None:
    if count != math.prod(shape):
        raise BadRequest(
            f"{spec.name} has {count} values, its shape {list(shape)} takes {math.prod(shape)}"
        )


def _from_base64(name: str, text: object, cut: CutJson) -> bytes:
    if not isinstance(text, str):
        raise BadRequest(f"{name}: in JSON its elements are base64, not {reprlib.repr(text)}")
    try:
        return cut.read_base64(text)
    except ValueError as error:
        raise BadRequest(f"{name}: in JSON its elements are base64 ({error})") from error


def as_elements(elements: Iterable[bytes], shape: tuple[int, ...]) -> Values:
    """Make an array of BYTES of as many elements as the shape takes."""
    array = np.empty(math.prod(shape), dtype=object)
    array[:] = list(elements)
    return array.reshape(shape)


def to_bytes(datatype: DataType, values: Values) -> bytes:
    """Write values as the protocol's raw bytes."""
    if datatype == "BYTES":
        return b"".join(struct.pack("<I", len(value)) + value for value in values.ravel())
    return values.astype(_DTYPES[datatype]).tobytes()


def to_json(datatype: DataType, values: Values) -> list[Any] | NDArray[Any]:
    """Write values as one flat list, for orjson with numpy."""
    if datatype == "BYTES":
        return [value.decode("utf-8", "replace") for value in values.ravel()]
    return values.astype(_DTYPES[datatype]).ravel()
