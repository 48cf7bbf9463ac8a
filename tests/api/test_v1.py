"""Predictions over HTTP: scores, masks in every form, times and ids."""

from __future__ import annotations

import asyncio
import base64
import copy
import io

import numpy as np
import pytest
import torch
from PIL import Image

from service.model.graph import InferenceGraph
from tests.running import grey, noise, png_of, running, scores_of, tiny_model

pytestmark = pytest.mark.anyio


def reference(image: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Scores and gates of every block, straight from the network."""
    loaded = tiny_model()
    contract, network = loaded.manifest.input, loaded.network
    graph = InferenceGraph(copy.deepcopy(network), contract.mean, contract.std)
    names = [block.name for block in network.spec.blocks()]
    pixels = torch.from_numpy(image.transpose(2, 0, 1).copy()).unsqueeze(0)
    with torch.inference_mode():
        logits, similarities, _ = graph(pixels, names)
        gates = {name: network.sge_of(name).gates(n)[0].numpy() for name, n in similarities.items()}
        return logits.softmax(1)[0].numpy(), gates


async def test_bytes_are_classified() -> None:
    """The scores are those of the network itself, with labels, best first."""
    image = noise(1)
    async with running() as service:
        reply = await service.predict(png_of(image), "top_k=3")

    scores, _ = reference(image)
    body = reply.json()
    assert reply.status_code == 200
    np.testing.assert_allclose(scores_of(reply), scores, atol=1e-5)  # float32 and batch effects
    best = body["results"][0]["predictions"][0]
    assert best["label"] == ("cat", "dog", "gnu")[int(scores.argmax())]
    assert body["model"] == {"name": "tiny", "version": "1"}
    assert (body["batch_size"], body["engine"]) == (1, "eager")
    assert "masks" not in body["results"][0]


async def test_masks_are_the_gates_of_the_same_pass() -> None:
    """All blocks come in the network's order, each with the gates the network used."""
    image = noise(3)
    async with running() as service:
        reply = await service.predict(png_of(image), "masks=all")

    _, gates = reference(image)
    masks = reply.json()["results"][0]["masks"]
    assert [mask["block"] for mask in masks] == list(gates)
    for mask in masks:
        expected = gates[mask["block"]]
        assert (mask["height"], mask["width"]) == expected.shape[1:]
        assert mask["groups"] == list(range(8))
        np.testing.assert_allclose(np.array(mask["data"]), expected, atol=1e-5)


async def test_masks_come_as_npy() -> None:
    """The file holds the same numbers as float32."""
    image = png_of(noise(3))
    async with running() as service:
        lists = await service.predict(image, "masks=last&mask_kind=similarity")
        file = await service.predict(image, "masks=last&mask_kind=similarity&mask_format=npy")

    mask = file.json()["results"][0]["masks"][0]
    array = np.load(io.BytesIO(base64.b64decode(mask["data"])))
    assert (array.dtype, mask["kind"]) == (np.float32, "similarity")
    np.testing.assert_allclose(array, lists.json()["results"][0]["masks"][0]["data"], atol=1e-6)


@pytest.mark.parametrize(
    ("form", "size", "mode"), [("png", (2, 2), "L"), ("overlay", (32, 32), "RGB")]
)
async def test_masks_come_as_pictures(form: str, size: tuple[int, int], mode: str) -> None:
    """One picture a group: as small as the mask, or laid over what the model saw."""
    async with running() as service:
        reply = await service.predict(png_of(noise(3)), f"masks=last&groups=2,5&mask_format={form}")

    mask = reply.json()["results"][0]["masks"][0]
    pictures = [Image.open(io.BytesIO(base64.b64decode(image))) for image in mask["images"]]
    assert mask["groups"] == [2, 5]
    assert [(picture.size, picture.mode) for picture in pictures] == [(size, mode)] * 2


async def test_times_and_ids_come_with_the_answer() -> None:
    """The request id is the client's own, the phases stand in body and header."""
    async with running() as service:
        reply = await service.predict(grey(1), x_request_id="tell-me-apart")
        made = await service.predict(grey(1), x_request_id="not\tprintable")

    timing = reply.json()["timing_ms"]
    assert reply.headers["x-request-id"] == reply.json()["request_id"] == "tell-me-apart"
    assert len(made.headers["x-request-id"]) == 32
    assert list(timing) == ["decode", "queue", "infer", "postprocess", "total"]
    assert reply.headers["server-timing"].startswith(f"decode;dur={timing['decode']}, queue;")
    assert timing["infer"] <= timing["total"]


async def test_broken_images_do_not_disturb_their_neighbours() -> None:
    """Of 32 clients at once, one in eight broken, each gets what it would get alone."""
    images = [png_of(noise(seed)) for seed in range(32)]
    async with running() as service:
        alone = [scores_of(await service.predict(image, "top_k=3")) for image in images]
        sent = [b"broken" if i % 8 == 0 else image for i, image in enumerate(images)]
        replies = await asyncio.gather(*(service.predict(image, "top_k=3") for image in sent))

    broken, good = replies[::8], [i for i in range(32) if i % 8]
    assert [reply.status_code for reply in broken] == [400] * 4
    for i in good:
        np.testing.assert_allclose(scores_of(replies[i]), alone[i], atol=1e-5)
    assert max(reply.json()["batch_size"] for reply in (replies[i] for i in good)) > 1
