"""Triton's own client of gRPC, unchanged, for a process of its own.

Its message classes and the service's are of the same names, which a process can have but once: so
nothing here imports the service. Every function gives plain values back.
"""

from __future__ import annotations

import queue
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException


def connect(address: str) -> Any:
    """A client of a service."""
    return triton.InferenceServerClient(address)


def pixels(images: NDArray[np.uint8]) -> Any:
    """An input of images."""
    tensor = triton.InferInput("IMAGE", list(images.shape), "UINT8")
    tensor.set_data_from_numpy(images)
    return tensor


def files(contents: list[bytes]) -> Any:
    """An input of encoded pictures."""
    elements = np.array([[content] for content in contents], dtype=object)
    tensor = triton.InferInput("IMAGE", list(elements.shape), "BYTES")
    tensor.set_data_from_numpy(elements)
    return tensor


def ask_everything(address: str) -> dict[str, Any]:
    """Its questions before the first request."""
    client = connect(address)
    config = client.get_model_config("tiny", as_json=True)["config"]
    index = client.get_model_repository_index(as_json=True)["models"]
    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": client.is_model_ready("tiny"),
        "name": client.get_server_metadata().name,
        "shape": list(client.get_model_metadata("tiny").inputs[0].shape),
        "max_batch_size": config["max_batch_size"],
        "data_type": config["input"][0]["data_type"],
        "states": {entry["state"] for entry in index},
    }


def infer_pixels(address: str, images: NDArray[np.uint8], classes: int = 0) -> NDArray[Any]:
    """Probabilities, or the best classes as text."""
    output = triton.InferRequestedOutput("PROBS", class_count=classes)
    reply = connect(address).infer("tiny", [pixels(images)], outputs=[output])
    values: NDArray[Any] = reply.as_numpy("PROBS")
    return values


def explain(address: str, contents: list[bytes]) -> dict[str, Any]:
    """Every output of pictures with masks, and the id that came back."""
    client = connect(address)
    reply = client.infer("tiny-explain", [files(contents)], model_version="1", request_id="seven")
    names = ("TOP_INDEX", "TOP_SCORE", "TOP_LABEL", "MASK", "ATTRIBUTION")
    return {"id": reply.get_response().id} | {name: reply.as_numpy(name) for name in names}


def infer_many(address: str, images: NDArray[np.uint8], count: int) -> list[list[float]]:
    """The same request so many times at once, by callbacks."""
    done: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()
    client = connect(address)
    for _ in range(count):
        client.async_infer(
            "tiny", [pixels(images)], lambda result, error: done.put((result, error))
        )
    ended = [done.get() for _ in range(count)]
    return [result.as_numpy("PROBS")[0].tolist() for result, error in ended if error is None]


def fail(address: str, kind: str) -> tuple[str, str]:
    """The status and the sentence that its user sees."""
    client = connect(address)
    images = np.zeros((1, 3, 32, 32), np.uint8)
    ways = {
        "model": lambda: client.infer("other", [pixels(images)]),
        "datatype": lambda: client.infer("tiny", [files([b"x"])]),
        "picture": lambda: client.infer("tiny-image", [files([b"x"])]),
        "load": lambda: client.load_model("tiny"),
        "timeout": lambda: client.infer("tiny", [pixels(images)], timeout=1),
        "client_timeout": lambda: client.infer("tiny", [pixels(images)], client_timeout=1e-6),
        "shared_memory": client.get_system_shared_memory_status,
    }
    try:
        ways[kind]()
    except InferenceServerException as error:
        return str(error.status()), str(error.message())
    return "", ""


def count_inferences(address: str) -> tuple[int, int]:
    """Rows and executions so far."""
    (model,) = connect(address).get_inference_statistics("tiny").model_stats
    return model.inference_count, model.execution_count
