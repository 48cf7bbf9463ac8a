"""The Open Inference Protocol as Triton's own client speaks it, over a real socket."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from service.config import Settings
from tests.bench.loopback import serving
from tests.running import noise, png_of, tiny_model

EAGER = Settings(engine="eager", device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """A client of a service with the tiny model."""
    with serving(tiny_model(), EAGER) as served:
        client = triton.InferenceServerClient(served.address.removeprefix("http://"))
        yield client
        client.close()


def pixels(count: int, *, is_binary: bool = True) -> Any:
    """An input of so many images, raw or in JSON."""
    images = np.stack([noise(seed).transpose(2, 0, 1) for seed in range(count)])
    tensor = triton.InferInput("IMAGE", list(images.shape), "UINT8")
    return tensor.set_data_from_numpy(images, binary_data=is_binary)


def files(*contents: bytes) -> Any:
    """An input of encoded pictures."""
    elements = np.array([[content] for content in contents], dtype=object)
    return triton.InferInput("IMAGE", list(elements.shape), "BYTES").set_data_from_numpy(elements)


def test_the_client_finds_server_and_models(client: Any) -> None:
    """Its questions before the first request."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("tiny")
    assert client.get_server_metadata()["name"] == "sge-serve"
    assert client.get_model_metadata("tiny")["inputs"][0]["shape"] == [-1, 3, 32, 32]
    assert client.get_model_config("tiny")["max_batch_size"] == 16
    assert {entry["state"] for entry in client.get_model_repository_index()} == {"READY"}


@pytest.mark.parametrize("algorithm", [None, "gzip", "deflate"])
def test_raw_and_listed_pixels_mean_the_same(client: Any, algorithm: str | None) -> None:
    """In both directions, compressed or not."""
    raw = client.infer(
        "tiny",
        [pixels(2)],
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    ).as_numpy("PROBS")
    output = triton.InferRequestedOutput("PROBS", binary_data=False)
    listed = client.infer("tiny", [pixels(2, is_binary=False)], outputs=[output])

    np.testing.assert_allclose(raw.sum(axis=1), [1, 1], rtol=1e-5)
    np.testing.assert_allclose(listed.as_numpy("PROBS"), raw, rtol=1e-4)


def test_probabilities_come_as_classes(client: Any) -> None:
    """The classification extension, as the public image client uses it."""
    output = triton.InferRequestedOutput("PROBS", class_count=2)
    classes = client.infer("tiny", [pixels(1)], outputs=[output]).as_numpy("PROBS")
    best, second = (text.decode().split(":") for text in classes[0])

    assert float(best[0]) >= float(second[0])
    assert best[2] == ("cat", "dog", "gnu")[int(best[1])]


def test_pictures_are_classified_and_explained(client: Any) -> None:
    """Files of several sizes in one request, with masks."""
    pictures = files(png_of(noise(1, 40)), png_of(noise(2, 60)))
    plain = client.infer("tiny-image", [pictures], request_id="seven")
    explained = client.infer("tiny-explain", [pictures], model_version="1")

    assert plain.get_response()["id"] == "seven"
    assert plain.as_numpy("TOP_LABEL").shape == (2, 3)
    assert np.array_equal(plain.as_numpy("TOP_INDEX"), explained.as_numpy("TOP_INDEX"))
    mask = explained.as_numpy("MASK")
    assert mask.shape[:2] == (2, 8)
    assert ((mask > 0) & (mask < 1)).all()
    assert explained.as_numpy("ATTRIBUTION").shape == (2, 3, *mask.shape[2:])


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda c: c.infer("other", [pixels(1)]), "no model 'other'"),
        (lambda c: c.infer("tiny", [files(b"x")]), "IMAGE is BYTES, the model takes UINT8"),
        (lambda c: c.infer("tiny-image", [files(b"x")]), "the 1 bytes are not an image"),
        (lambda c: c.load_model("tiny"), "models are loaded when the service starts"),
    ],
)
def test_the_client_shows_what_the_service_says(client: Any, ask: Any, message: str) -> None:
    """Errors reach its user as sentences."""
    with pytest.raises(InferenceServerException, match=message):
        ask(client)


def test_statistics_rise(client: Any) -> None:
    """What a load generator reads before and after."""
    before = client.get_inference_statistics("tiny")["model_stats"][0]
    client.infer("tiny", [pixels(3)])
    after = client.get_inference_statistics("tiny")["model_stats"][0]

    assert after["inference_count"] - before["inference_count"] == 3
    assert after["execution_count"] - before["execution_count"] == 1
    assert after["inference_stats"]["queue"]["count"] > before["inference_stats"]["queue"]["count"]
