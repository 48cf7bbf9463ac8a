"""Replies of `/infer`: JSON, with raw tensors behind it where they were asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from service.api.v2.messages import InferRequest, RequestedOutput
from service.api.v2.tensors import DataType, Values, to_bytes, to_json


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
