"""Where the evidence for a class lies, over HTTP."""

from __future__ import annotations

import base64
import dataclasses
import io

import httpx
import numpy as np
import pytest
from PIL import Image

from service.engines.base import EngineOutputs
from tests.fakes import FakeEngine
from tests.running import noise, png_of, running, tiny_model

pytestmark = pytest.mark.anyio

IMAGE = noise(4)


async def explained(query: str) -> httpx.Response:
    """What the service answers to one picture."""
    async with running() as service:
        return await service.predict(png_of(IMAGE), query)


async def test_a_logit_is_the_mean_of_its_map_and_the_bias() -> None:
    """Of the same pass that gave the scores, for every class, best first."""
    reply = await explained("attribution=top:3&top_k=3&masks=last")

    (result,) = reply.json()["results"]
    attribution = result["attribution"]
    maps = np.array(attribution["data"])
    logits = np.array([one["logit"] for one in attribution["classes"]])
    biases = np.array([one["bias"] for one in attribution["classes"]])
    assert maps.shape == (3, attribution["height"], attribution["width"])
    np.testing.assert_allclose(
        maps.mean(axis=(1, 2)) + biases, logits, rtol=0, atol=1e-4 * np.abs(logits).max()
    )
    predicted = [(each["index"], each["label"]) for each in result["predictions"]]
    assert [(one["index"], one["label"]) for one in attribution["classes"]] == predicted
    scores = [each["score"] for each in result["predictions"]]
    np.testing.assert_allclose(np.exp(logits) / np.exp(logits).sum(), scores, rtol=1e-4)
    assert result["masks"][0]["block"] == "layer4.1"


@pytest.mark.parametrize(("asked", "expected"), [("top", 1), ("gnu,0", 2), ("1", 1), ("top:9", 3)])
async def test_classes_are_chosen_by_rank_label_or_index(asked: str, expected: int) -> None:
    """Each choice gives as many maps."""
    reply = await explained(f"attribution={asked}&mask_format=npy")

    attribution = reply.json()["results"][0]["attribution"]
    maps = np.load(io.BytesIO(base64.b64decode(attribution["data"])))
    assert len(attribution["classes"]) == len(maps) == expected


@pytest.mark.parametrize(
    ("form", "size", "mode"), [("png", (2, 2), "L"), ("overlay", (32, 32), "RGB")]
)
async def test_maps_come_as_pictures(form: str, size: tuple[int, int], mode: str) -> None:
    """One a class, as for masks."""
    reply = await explained(f"attribution=top:2&mask_format={form}")

    images = reply.json()["results"][0]["attribution"]["images"]
    pictures = [Image.open(io.BytesIO(base64.b64decode(image))) for image in images]
    assert [(picture.size, picture.mode) for picture in pictures] == [(size, mode)] * 2


async def test_the_picture_comes_as_the_model_saw_it() -> None:
    """Its pixels without loss, also where no map is asked for."""
    reply = await explained("input=true")

    (result,) = reply.json()["results"]
    seen = Image.open(io.BytesIO(base64.b64decode(result["input"])))
    np.testing.assert_array_equal(np.asarray(seen), IMAGE)
    assert "attribution" not in result


async def test_a_class_that_is_not_there_is_refused() -> None:
    """Before the picture is looked at."""
    reply = await explained("attribution=cow")

    assert reply.status_code == 422
    assert "no class 'cow'" in reply.json()["error"]["message"]


async def test_maps_count_towards_the_pictures_of_a_request() -> None:
    """Of masks, of attribution, and the input."""
    async with running(mask_pictures=3) as service:
        query = "attribution=top:2&mask_format=png&input=true"
        fits = await service.predict(png_of(IMAGE), query)
        refused = await service.predict(png_of(IMAGE), f"{query}&masks=last&groups=mean")

    assert fits.status_code == 200
    assert refused.status_code == 422
    assert "4 pictures asked for, the limit is 3" in refused.json()["error"]["message"]


async def test_classes_count_towards_the_bytes_of_an_answer() -> None:
    """With labels as long as the model's longest, whether predicted or attributed."""
    labels = ("cat", "dog", "g" * 3000)
    model = dataclasses.replace(tiny_model(), labels=labels)
    async with running(model, answer_limit_mb=0.01) as service:
        few = await service.predict(png_of(IMAGE), "top_k=1&attribution=cat")
        many = await service.predict(png_of(IMAGE), "top_k=3&attribution=cat")

    assert (few.status_code, many.status_code) == (200, 422)
    assert "what is asked for takes 0.0126 MB" in many.json()["error"]["message"]


async def test_features_that_are_not_finite_are_a_failure_of_the_model() -> None:
    """A request that asks for them fails; one that does not is answered."""

    class Overflowing(FakeEngine):
        def infer(self, batch: tuple[int, ...], extras: frozenset[str]) -> EngineOutputs:
            outputs = super().infer(batch, extras)
            features = np.full((len(batch), 8, 64, 2, 2), np.inf, np.float32)
            return dataclasses.replace(outputs, features=features)

    async with running(engine=Overflowing()) as service:
        plain = await service.predict(png_of(IMAGE))
        asked = await service.predict(png_of(IMAGE), "attribution=0")

    assert (plain.status_code, asked.status_code) == (200, 500)
    assert asked.json()["error"]["code"] == "engine_failed"
