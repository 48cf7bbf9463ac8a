"""Replies of `ModelInfer`."""

from __future__ import annotations

import numpy as np

from service.api.v2.grpc.open_inference_pb2 import ModelInferResponse
from service.api.v2.grpc.replies import encode_reply
from service.api.v2.requests import InferRequest, RequestedOutput
from service.api.v2.tensors import TensorSpec

PROBS = TensorSpec("PROBS", "FP32", (3,))
LABEL = TensorSpec("LABEL", "BYTES", (1,))


def test_a_reply_is_a_message_that_protobuf_reads() -> None:
    """Outputs in the client's order, each with its raw bytes."""
    outputs = (
        RequestedOutput(LABEL, is_binary=True, classes=0),
        RequestedOutput(PROBS, is_binary=True, classes=0),
    )
    values = {
        "PROBS": np.array([[0.25, 0.5, 0.25]]),
        "LABEL": np.array([[b"dog"]], dtype=object),
    }
    request = InferRequest("7", np.empty((1, 1)), outputs, None)

    reply = ModelInferResponse.FromString(encode_reply(("m", "1"), request, values, "abc"))

    assert reply == ModelInferResponse(
        model_name="m",
        model_version="1",
        id="7",
        outputs=[
            {"name": "LABEL", "datatype": "BYTES", "shape": [1, 1]},
            {"name": "PROBS", "datatype": "FP32", "shape": [1, 3]},
        ],
        raw_output_contents=[b"\3\0\0\0dog", np.array([0.25, 0.5, 0.25], "<f4").tobytes()],
    )


def test_classes_come_as_text() -> None:
    """The best so many, by the classification extension."""
    outputs = (RequestedOutput(PROBS, is_binary=True, classes=1),)
    request = InferRequest("", np.empty((1, 1)), outputs, None)
    values = {"PROBS": np.array([[0.25, 0.5, 0.25]])}

    reply = ModelInferResponse.FromString(
        encode_reply(("m", "1"), request, values, ["cat", "dog", "gnu"])
    )

    assert (reply.outputs[0].datatype, list(reply.outputs[0].shape)) == ("BYTES", [1, 1])
    assert reply.raw_output_contents[0][4:] == b"0.500000:1:dog"
