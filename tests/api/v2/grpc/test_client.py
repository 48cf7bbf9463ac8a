"""The protocol over gRPC as Triton's own client speaks it, against the real command."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service.api.v2.messages import HEADER_LENGTH
from tests.api.v2.grpc.apart import Ask, apart
from tests.processes import ready
from tests.running import noise, png_of

IMAGES = np.stack([noise(seed).transpose(2, 0, 1) for seed in range(2)])


@dataclass(frozen=True, slots=True)
class Triton:
    """Triton's client, and where a service answers over either wire."""

    ask: Ask
    over_grpc: str
    over_http: str

    def __call__(self, name: str, *arguments: object) -> Any:
        """Call one of its functions with the service's address."""
        return self.ask(name, self.over_grpc, *arguments)


@pytest.fixture(scope="module")
def triton(tiny_version: Path) -> Iterator[Triton]:
    """The client beside a service with the tiny model."""
    with ready(tiny_version.parents[1], "--grpc-port", "0") as served, apart() as ask:
        (address,) = re.findall(r"^gRPC at (\S+)$", served.said, re.MULTILINE)
        yield Triton(ask, address, served.address)


def test_the_client_finds_server_and_models(triton: Triton) -> None:
    """Its questions before the first request."""
    assert triton("ask_everything") == {
        "live": True,
        "ready": True,
        "model_ready": True,
        "name": "sge-serve",
        "shape": [-1, 3, 32, 32],
        "max_batch_size": 16,
        "data_type": "TYPE_UINT8",
        "states": {"READY"},
    }


def test_it_is_answered_what_http_answers(triton: Triton) -> None:
    """Bit by bit."""
    over_grpc = triton("infer_pixels", IMAGES)
    over_http = httpx.post(
        f"{triton.over_http}/v2/models/tiny/infer",
        content=IMAGES.tobytes(),
        headers={HEADER_LENGTH: "0"},
    )

    size = int(over_http.headers[HEADER_LENGTH])
    assert over_grpc.tobytes() == over_http.content[size:]


def test_probabilities_come_as_classes(triton: Triton) -> None:
    """The classification extension, as the public image client uses it."""
    probabilities = triton("infer_pixels", IMAGES)
    classes = triton("infer_pixels", IMAGES, 1)

    best = [text.decode().split(":") for text in classes[:, 0]]
    assert [int(index) for _, index, _ in best] == probabilities.argmax(axis=1).tolist()
    assert [label for _, _, label in best] == [
        ("cat", "dog", "gnu")[index] for index in probabilities.argmax(axis=1)
    ]


def test_pictures_are_explained(triton: Triton) -> None:
    """Files of several sizes in one request, with masks and evidence."""
    explained = triton("explain", [png_of(noise(1, 40)), png_of(noise(2, 60))])

    shapes = {name: values.shape for name, values in explained.items() if name != "id"}
    assert explained["id"] == "seven"
    assert shapes == {
        "TOP_INDEX": (2, 3),
        "TOP_SCORE": (2, 3),
        "TOP_LABEL": (2, 3),
        "MASK": (2, 8, 2, 2),
        "ATTRIBUTION": (2, 3, 2, 2),
    }


def test_many_requests_at_once_are_answered_alike(triton: Triton) -> None:
    """By its callbacks, over one connection."""
    answers = triton("infer_many", IMAGES[:1], 64)

    alone = triton("infer_pixels", IMAGES[:1])[0]
    assert len(answers) == 64
    np.testing.assert_allclose(answers, [alone] * 64, rtol=1e-4)  # batches differ in their rounding


@pytest.mark.parametrize(
    ("kind", "status", "message"),
    [
        ("model", "NOT_FOUND", "no model 'other', served are: tiny"),
        ("datatype", "INVALID_ARGUMENT", "IMAGE is BYTES, the model takes UINT8"),
        ("picture", "INVALID_ARGUMENT", "the 1 bytes are not an image"),
        ("load", "UNIMPLEMENTED", "models are loaded when the service starts"),
        ("timeout", "DEADLINE_EXCEEDED", ""),
        ("client_timeout", "DEADLINE_EXCEEDED", ""),
        ("shared_memory", "UNIMPLEMENTED", ""),
    ],
)
def test_the_client_shows_what_the_service_says(
    triton: Triton, kind: str, status: str, message: str
) -> None:
    """Errors reach its user as codes and sentences."""
    code, told = triton("fail", kind)

    assert code == f"StatusCode.{status}"
    assert told.startswith(message)


def test_statistics_rise(triton: Triton) -> None:
    """What a load generator reads before and after."""
    before = triton("count_inferences")
    triton("infer_pixels", IMAGES)
    after = triton("count_inferences")

    assert np.subtract(after, before).tolist() == [2, 1]
