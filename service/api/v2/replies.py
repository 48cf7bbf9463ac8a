"""Replies of `/infer`: JSON, with raw tensors behind it where they were asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from service.api.v2.requests import InferRequest, RequestedOutput
from service.api.v2.tensors import DataType, Values, to_bytes, to_json

STEP_VALUES = 65_536  # written at a time, some 4 ms
NUMBER_BYTES = {False: 16, True: 4}  # of a number in JSON with its comma, and of a raw one
LABEL_BYTES = 6  # of a character of a label, escaped in JSON
TEXT_BYTES = 32  # of `score:index:` and what is around a text
QUICK_VALUES = 10_000  # of a reply, some 1 ms; as many classes are written more slowly


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
    text: list[bytes] = []
    raw: list[bytes] = []
    for output in request.outputs:
        datatype, shown = as_wanted(output, values[output.spec.name], labels)
        head: dict[str, Any] = {
            "name": output.spec.name,
            "datatype": datatype,
            "shape": list(shown.shape),
        }
        if output.is_binary:
            raw.append(to_bytes(datatype, shown))
            head["parameters"] = {"binary_data_size": len(raw[-1])}
            text += [b"," if text else b"", orjson.dumps(head)]
        else:
            text += [b"," if text else b"", orjson.dumps(head)[:-1], b',"data":[']
            text += [*_listed(to_json(datatype, shown)), b"]}"]
    body = {"model_name": names[0], "model_version": names[1]}
    if request.id:
        body["id"] = request.id
    text = [orjson.dumps(body)[:-1], b',"outputs":[', *text, b"]}"]
    size = sum(map(len, text))
    return EncodedReply(b"".join((*text, *raw)), size if raw else None)


def is_quick(values: Mapping[str, Values]) -> bool:
    """Whether a reply of these outputs is written at once, rather than on a thread."""
    return sum(tensor.size for tensor in values.values()) < QUICK_VALUES


def bytes_of_reply(request: InferRequest, labels: Sequence[str]) -> int:
    """Tell how much a reply can take at most, before anything runs."""
    label_bytes = LABEL_BYTES * max(map(len, labels))
    each = sum(_bytes_of(output, label_bytes) for output in request.outputs)
    return each * len(request.images)


def _bytes_of(output: RequestedOutput, label_bytes: int) -> int:
    """What an output takes for one image."""
    if output.classes:
        return output.classes * (label_bytes + TEXT_BYTES)
    texts = label_bytes if output.spec.datatype == "BYTES" else 0
    return math.prod(output.spec.dims) * (texts + NUMBER_BYTES[output.is_binary])


def _listed(values: list[Any] | NDArray[Any]) -> Iterator[bytes]:
    """Write the inside of a JSON list in pieces: orjson holds the GIL for all of a call."""
    for start in range(0, len(values), STEP_VALUES):
        step = values[start : start + STEP_VALUES]
        written = orjson.dumps(step, option=orjson.OPT_SERIALIZE_NUMPY)
        yield b"," + written[1:-1] if start else written[1:-1]


def as_wanted(
    output: RequestedOutput, values: Values, labels: Sequence[str]
) -> tuple[DataType, Values]:
    """Give values as they are or, as the classification extension has it, as text: (B, k).

    Args:
        output: says which.
        values: of the output.
        labels: of the classes.
    """
    if not output.classes:
        return output.spec.datatype, values
    best = np.argsort(-values, axis=1, kind="stable")[:, : output.classes]
    texts = np.empty(best.shape, dtype=object)
    for (row, rank), index in np.ndenumerate(best):
        texts[row, rank] = f"{values[row, index]:f}:{index}:{labels[int(index)]}".encode()
    return "BYTES", texts
