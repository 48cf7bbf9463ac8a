"""Replies of `/infer` as bytes: flat lists, raw tensors, classes as text."""

from __future__ import annotations

import json

import numpy as np

from service.api.v2.replies import encode_reply
from service.api.v2.requests import InferRequest, RequestedOutput
from service.api.v2.tensors import TensorSpec

PROBS = TensorSpec("PROBS", "FP32", (3,))
TOP_INDEX = TensorSpec("TOP_INDEX", "INT32", (2,))
TOP_LABEL = TensorSpec("TOP_LABEL", "BYTES", (2,))
LABELS = ("cat", "dog", "gnu")


def request_for(*outputs: RequestedOutput, name: str = "") -> InferRequest:
    """A request of one image, of which nothing but the outputs matters."""
    return InferRequest(name, np.empty((1, 1)), outputs, None)


def test_a_reply_in_json_has_flat_lists() -> None:
    """Without parameters on its outputs, which some clients stumble over."""
    wanted = request_for(RequestedOutput(PROBS, is_binary=False, classes=0), name="7")

    reply = encode_reply(("m", "1"), wanted, {"PROBS": np.array([[0.25, 0.5, 0.25]])}, LABELS)

    assert reply.json_bytes is None
    assert json.loads(reply.content) == {
        "model_name": "m",
        "model_version": "1",
        "id": "7",
        "outputs": [
            {"name": "PROBS", "datatype": "FP32", "shape": [1, 3], "data": [0.25, 0.5, 0.25]}
        ],
    }


def test_raw_outputs_follow_the_json_in_its_order() -> None:
    """Each says how long it is; one in JSON may stand between them."""
    wanted = request_for(
        *(RequestedOutput(spec, is_binary=True, classes=0) for spec in (TOP_LABEL, TOP_INDEX))
    )
    values = {
        "TOP_INDEX": np.array([[2, 0]]),
        "TOP_LABEL": np.array([[b"gnu", b"cat"]], dtype=object),
    }

    reply = encode_reply(("m", "1"), wanted, values, LABELS)

    assert reply.json_bytes is not None
    head = json.loads(reply.content[: reply.json_bytes])
    assert [output["parameters"] for output in head["outputs"]] == [
        {"binary_data_size": 14},
        {"binary_data_size": 8},
    ]
    assert not any("data" in output for output in head["outputs"])
    assert "id" not in head
    assert reply.content[reply.json_bytes :] == (
        b"\3\0\0\0gnu\3\0\0\0cat" + b"\2\0\0\0" + b"\0\0\0\0"
    )


def test_probabilities_can_come_as_text() -> None:
    """The classification extension: the best k, each as score:index:label."""
    wanted = request_for(RequestedOutput(PROBS, is_binary=False, classes=2))

    reply = encode_reply(("m", "1"), wanted, {"PROBS": np.array([[0.2, 0.7, 0.1]])}, LABELS)

    (output,) = json.loads(reply.content)["outputs"]
    assert output == {
        "name": "PROBS",
        "datatype": "BYTES",
        "shape": [1, 2],
        "data": ["0.700000:1:dog", "0.200000:0:cat"],
    }
