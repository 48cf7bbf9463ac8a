"""Replies of `ModelInfer`: a message, with every tensor as raw bytes behind what describes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from service.api.v2.grpc.fields import LENGTH_DELIMITED, varint
from service.api.v2.grpc.open_inference_pb2 import ModelInferResponse
from service.api.v2.replies import as_wanted
from service.api.v2.requests import InferRequest
from service.api.v2.tensors import Values, to_bytes

RAW_TAG = varint(ModelInferResponse.RAW_OUTPUT_CONTENTS_FIELD_NUMBER << 3 | LENGTH_DELIMITED)


def encode_reply(
    names: tuple[str, str],
    request: InferRequest,
    values: Mapping[str, Values],
    labels: Sequence[str],
) -> bytes:
    """Write a reply.

    Args:
        names: of the model and its version.
        request: says which outputs, and how.
        values: of every output of the model.
        labels: of the classes, for text.
    """
    head = ModelInferResponse(model_name=names[0], model_version=names[1], id=request.id)
    raw: list[bytes] = []
    for output in request.outputs:
        datatype, shown = as_wanted(output, values[output.spec.name], labels)
        head.outputs.add(name=output.spec.name, datatype=datatype, shape=shown.shape)
        content = to_bytes(datatype, shown)
        raw += [RAW_TAG, varint(len(content)), content]
    return b"".join((head.SerializeToString(), *raw))  # fields may come in any order
