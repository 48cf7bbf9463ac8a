"""The Open Inference Protocol over HTTP: three views of a model, and how they refuse."""

from __future__ import annotations

import asyncio
import json
import struct
import time
from typing import Any

import httpx
import numpy as np
import pytest

from tests.fakes import FakeEngine, GatedEngine
from tests.running import Running, grey, noise, png_of, running, scores_of, tiny_model, until

pytestmark = pytest.mark.anyio

LENGTH = "Inference-Header-Content-Length"
WHOLE = {LENGTH: "0"}
HEALTH = ("health/live", "health/ready", "models/tiny-image/ready")


def pixels_of(image: np.ndarray) -> np.ndarray:
    """An image of the model's own size as its pixels (3, 32, 32)."""
    return image.transpose(2, 0, 1).copy()


def tensor_request(*images: np.ndarray, **others: object) -> dict[str, object]:
    """A request in JSON for the view of pixels."""
    pixels = np.stack([pixels_of(image) for image in images])
    shape = list(pixels.shape)
    image = {"name": "IMAGE", "datatype": "UINT8", "shape": shape, "data": pixels.ravel().tolist()}
    return {"inputs": [image], **others}


async def infer(service: Running, view: str, **sent: Any) -> httpx.Response:
    """Post a request to a view."""
    return await service.client.post(f"/v2/models/{view}/infer", **sent)


def outputs_of(reply: httpx.Response) -> dict[str, np.ndarray]:
    """The outputs in a reply's JSON, in their shapes."""
    assert reply.status_code == 200, reply.text
    outputs = reply.json()["outputs"]
    return {output["name"]: np.reshape(output["data"], output["shape"]) for output in outputs}


async def test_pixels_give_the_probabilities_of_the_native_api() -> None:
    """In the order of the classes, for every image of the request."""
    first, second = noise(1), noise(2)
    async with running() as service:
        native = [await service.predict(png_of(image), "top_k=3") for image in (first, second)]
        reply = await infer(service, "tiny", json=tensor_request(first, second, id="seven"))

    expected = [scores_of(one) for one in native]
    np.testing.assert_allclose(outputs_of(reply)["PROBS"], expected, atol=1e-5)
    body = reply.json()
    assert (body["model_name"], body["model_version"], body["id"]) == ("tiny", "1", "seven")
    assert LENGTH not in reply.headers


async def test_pictures_give_the_best_classes() -> None:
    """A file as it is, with a header of 0: every output comes raw."""
    file = png_of(noise(3, 50))
    async with running() as service:
        native = (await service.predict(file, "top_k=3")).json()["results"][0]["predictions"]
        reply = await infer(service, "tiny-image", content=file, headers=WHOLE)

    length = int(reply.headers[LENGTH])
    heads = json.loads(reply.content[:length])["outputs"]
    raw = reply.content[length:]
    assert reply.headers["content-type"] == "application/octet-stream"
    assert [head["name"] for head in heads] == ["TOP_INDEX", "TOP_SCORE", "TOP_LABEL"]
    assert [head["shape"] for head in heads] == [[1, 3]] * 3
    assert struct.unpack("<3i", raw[:12]) == tuple(best["index"] for best in native)
    np.testing.assert_allclose(
        struct.unpack("<3f", raw[12:24]), [best["score"] for best in native], atol=1e-5
    )
    labels = b"".join(struct.pack("<I", 3) + best["label"].encode() for best in native)
    assert raw[24:] == labels


async def test_explained_pictures_bring_the_gates_of_the_last_block() -> None:
    """The same numbers as the native API's masks, of the same pass."""
    file = png_of(noise(3, 50))
    async with running() as service:
        native = (await service.predict(file, "masks=last")).json()["results"][0]["masks"][0]
        reply = await infer(service, "tiny-explain", content=file, headers=WHOLE)
        metadata = (await service.client.get("/v2/models/tiny-explain")).json()

    length = int(reply.headers[LENGTH])
    *_, mask, evidence = json.loads(reply.content[:length])["outputs"]
    mask_bytes, evidence_bytes = (
        output["parameters"]["binary_data_size"] for output in (mask, evidence)
    )
    start = len(reply.content) - evidence_bytes - mask_bytes
    values = np.frombuffer(reply.content[start : start + mask_bytes], "<f4").reshape(mask["shape"])
    assert (mask["name"], evidence["name"]) == ("MASK", "ATTRIBUTION")
    for output, told in zip((mask, evidence), metadata["outputs"][-2:], strict=True):
        assert output["shape"][1:] == told["shape"][1:]
    np.testing.assert_allclose(values[0], native["data"], atol=1e-5)


async def test_the_documented_example_works() -> None:
    """As it stands, on the view that it is for."""
    async with running() as service:
        paths = (await service.client.get("/openapi.json")).json()["paths"]
        content = paths["/v2/models/{name}/infer"]["post"]["requestBody"]["content"]
        reply = await infer(service, "tiny-image", json=content["application/json"]["example"])

    assert outputs_of(reply)["TOP_LABEL"].shape == (1, 3)


async def test_both_protocols_share_batches() -> None:
    """While a batch runs, requests of every kind wait for the next one together."""
    engine = GatedEngine()
    white = np.full((32, 32, 3), 3, np.uint8)
    async with running(engine=engine) as service:
        first = asyncio.ensure_future(service.predict(grey(1)))
        assert await engine.entered() == (1,)
        waiting = [
            asyncio.ensure_future(service.predict(grey(2))),
            asyncio.ensure_future(infer(service, "tiny", json=tensor_request(white))),
            asyncio.ensure_future(infer(service, "tiny-image", content=grey(4), headers=WHOLE)),
        ]
        await until(lambda: service.has_queued(3))
        engine.open(2)
        assert sorted(await engine.entered()) == [2, 3, 4]
        replies = await asyncio.gather(first, *waiting)

    assert [reply.status_code for reply in replies] == [200] * 4


async def test_the_server_and_its_models_are_described() -> None:
    """In the shapes that clients of the protocol read."""
    async with running(tiny_model(version="1"), tiny_model(version="2")) as service:
        client = service.client
        server = (await client.get("/v2")).json()
        model = (await client.get("/v2/models/tiny")).json()
        old = (await client.get("/v2/models/tiny-image/versions/1/config")).json()
        config = (await client.get("/v2/models/tiny/config")).json()
        index = (await client.post("/v2/repository/index")).json()
        ready = (await client.post("/v2/repository/index", json={"ready": True})).json()
        health = [await client.get(f"/v2/{path}") for path in HEALTH]

    assert server["name"] == "sge-serve"
    assert isinstance(server["extensions"], list)
    assert model == {
        "name": "tiny",
        "versions": ["1", "2"],
        "platform": "sge_serve",
        "inputs": [{"name": "IMAGE", "datatype": "UINT8", "shape": [-1, 3, 32, 32]}],
        "outputs": [{"name": "PROBS", "datatype": "FP32", "shape": [-1, 3]}],
    }
    assert old["version_policy"] == {"specific": {"versions": [1]}}
    assert (config["input"][0]["format"], config["max_batch_size"]) == ("FORMAT_NCHW", 16)
    assert config["dynamic_batching"] == {
        "max_queue_delay_microseconds": 0,
        "priority_levels": 3,
        "default_priority_level": 2,
        "default_queue_policy": {
            "timeout_action": "REJECT",
            "default_timeout_microseconds": 30_000_000,
            "allow_timeout_override": True,
        },
    }
    assert [entry["name"] for entry in index] == ["tiny", "tiny-image", "tiny-explain"] * 2
    assert ready == index
    assert {entry["state"] for entry in index} == {"READY"}
    assert [(reply.status_code, reply.json()) for reply in health] == [
        (200, {"live": True}),
        (200, {"ready": True}),
        (200, {"name": "tiny-image", "ready": True}),
    ]


async def test_a_model_that_cannot_answer_is_not_ready() -> None:
    """Neither it, nor the server, nor its line in the index; bodies say so, which KServe reads."""
    async with running(engine=FakeEngine()) as service:
        (model,) = service.runtime.models
        model.tier = "restarting"
        client = service.client
        health = [await client.get(f"/v2/{path}") for path in HEALTH]
        (entry, *_) = (await client.post("/v2/repository/index")).json()
        ready = (await client.post("/v2/repository/index", json={"ready": True})).json()
        refused = await infer(service, "tiny", json=tensor_request(noise(1)))

    assert [(reply.status_code, reply.json()) for reply in health] == [
        (200, {"live": True}),
        (503, {"ready": False}),
        (503, {"name": "tiny-image", "ready": False}),
    ]
    assert (entry["state"], entry["reason"]) == ("UNAVAILABLE", "restarting")
    assert ready == []
    assert (refused.status_code, list(refused.json())) == (503, ["error"])
    assert refused.headers["retry-after"] == "2"


async def test_statistics_are_those_of_the_metrics() -> None:
    """Requests by phase, batches by size; a failed request counts as one."""
    async with running() as service:
        before = (await service.client.get("/v2/models/stats")).json()["model_stats"]
        await infer(service, "tiny", json=tensor_request(noise(1), noise(2)))
        await infer(service, "tiny-image", content=b"no picture", headers=WHOLE)
        (after,) = (await service.client.get("/v2/models/tiny/stats")).json()["model_stats"]

    assert [entry["name"] for entry in before] == ["tiny", "tiny-image", "tiny-explain"]
    assert {entry["inference_count"] for entry in before} == {0}
    assert {entry["last_inference"] for entry in before} == {0}
    counts = {name: spent["count"] for name, spent in after["inference_stats"].items()}
    assert counts == {
        "success": 1,
        "fail": 1,
        "queue": 1,
        "compute_input": 0,
        "compute_infer": 1,
        "compute_output": 1,
        "cache_hit": 0,
        "cache_miss": 0,
    }
    assert (after["inference_count"], after["execution_count"]) == (2, 1)
    (batches,) = after["batch_stats"]
    assert (batches["batch_size"], batches["compute_infer"]["count"]) == (2, 1)
    assert 0 < batches["compute_infer"]["ns"] <= after["inference_stats"]["success"]["ns"]
    assert after["last_inference"] > 1_700_000_000_000  # milliseconds, not seconds


async def test_statistics_of_many_models_hold_the_loop_no_longer_than_those_of_one() -> None:
    """The counters are gone through once, on a thread."""
    models = [tiny_model(f"m{number}") for number in range(10)]
    async with running(*models, engine=FakeEngine()) as service:
        before_s = time.thread_time()
        reply = await service.client.get("/v2/models/stats")
        spent_s = time.thread_time() - before_s

    assert [entry["name"] for entry in reply.json()["model_stats"][:3]] == [
        "m0",
        "m0-image",
        "m0-explain",
    ]
    assert len(reply.json()["model_stats"]) == 30
    assert spent_s < 0.02
