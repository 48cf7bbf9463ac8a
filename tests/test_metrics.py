"""Measurements: every request and every image is counted once, under what became of it."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.types import Message

from service.engines.base import EngineOutputs
from tests.fakes import FakeEngine, GatedEngine
from tests.running import Running, grey, running, until

pytestmark = pytest.mark.anyio


async def lost_images(service: Running) -> dict[str, float]:
    """The images that got no answer, by what became of them."""
    names = {
        "expired": "sge_expired_images_total",
        "disconnected": "sge_disconnected_images_total",
        "failed": "sge_engine_failures_total",
    }
    return {
        fate: await service.metric(f'{name}{{model="tiny",version="1"}}')
        for fate, name in names.items()
    }


@pytest.mark.parametrize("path", ["/v1/predict", "/v2/models/tiny-image/infer"])
async def test_a_client_that_hangs_up_is_taken_out_of_the_queue(path: str) -> None:
    """The engine never sees its image, and the outcome is counted, whatever the protocol."""
    engine = GatedEngine()
    body: list[Message] = [{"type": "http.request", "body": grey(2)}, {"type": "http.disconnect"}]
    queued = asyncio.Event()

    async def receive() -> Message:
        if len(body) == 1:
            await queued.wait()
        return body.pop(0)

    async with running(engine=engine, max_batch=2) as service:
        first = asyncio.ensure_future(service.predict(grey(1)))
        await engine.entered()
        second = asyncio.ensure_future(service.converse(receive, path))
        await until(lambda: service.has_queued(1))
        queued.set()
        await second
        engine.open(2)
        await first
        last = await service.predict(grey(3))
        requests = await service.metric(
            'sge_requests_total{model="tiny",outcome="disconnected",version="1"}'
        )
        images = await lost_images(service)

    assert (last.status_code, requests) == (200, 1)
    assert images == {"expired": 0, "disconnected": 1, "failed": 0}
    assert [ran.values for ran in engine.ran] == [(1,), (3,)]


async def test_the_counters_add_up() -> None:
    """Every request that came in left with exactly one outcome."""
    async with running(engine=FakeEngine(raises=[7])) as service:
        for image in (grey(1), b"broken", grey(7), b"", grey(2)):
            await service.predict(image)
        await service.predict(grey(1), "top_k=no")
        await service.predict(grey(1), "model=other")
        text = (await service.client.get("/metrics")).text

    families = {family.name: family for family in text_string_to_metric_families(text)}
    outcomes = {
        (sample.labels["model"], sample.labels["outcome"]): sample.value
        for sample in families["sge_requests"].samples
        if sample.name.endswith("_total") and sample.value
    }
    received = sum(s.value for s in families["sge_requests_received"].samples if "_total" in s.name)
    assert outcomes == {
        ("tiny", "ok"): 2,
        ("tiny", "undecodable_image"): 2,
        ("tiny", "engine_failed"): 1,
        ("none", "bad_request"): 1,
        ("none", "unknown_model"): 1,
    }
    assert received == 7


async def test_each_phase_is_measured_once_a_request() -> None:
    """The histograms of all phases and of batches hold every answered request."""
    async with running(engine=FakeEngine()) as service:
        for value in (1, 2, 3):
            await service.predict(grey(value))
        counts = [
            await service.metric(
                f'sge_phase_seconds_count{{model="tiny",phase="{phase}",version="1"}}'
            )
            for phase in ("decode", "queue", "infer", "postprocess", "total")
        ]
        batches = await service.metric('sge_batch_size_count{model="tiny",version="1"}')
        in_use = await service.metric("sge_permits_in_use")

    assert (counts, batches, in_use) == ([3] * 5, 3, 0)


async def test_no_text_of_a_client_becomes_a_label() -> None:
    """Names, ids and paths that a client makes up leave no trace in the metrics."""
    async with running(engine=FakeEngine()) as service:
        await service.predict(grey(1), "model=evil-name", x_request_id="evil-id")
        await service.client.get("/evil-path")
        text = (await service.client.get("/metrics")).text

    assert "evil" not in text


async def test_images_whose_deadline_comes_in_the_queue_count_as_expired() -> None:
    """All images of the request do, and none of them as one whose client left."""
    engine = GatedEngine()
    files = [("a", (str(i), grey(i))) for i in (2, 3)]
    async with running(engine=engine) as service:
        first = asyncio.ensure_future(service.predict(grey(1)))
        await engine.entered()
        late = await service.client.post(
            "/v1/predict", files=files, headers={"X-Request-Deadline-Ms": "300"}
        )
        engine.open()
        await first
        images = await lost_images(service)

    assert (late.status_code, late.json()["error"]["code"]) == (504, "deadline_exceeded")
    assert images == {"expired": 2, "disconnected": 0, "failed": 0}


async def test_the_crash_of_the_engine_counts_once_and_each_image_once() -> None:
    """With one batch on the device and a full one behind it: one crash, three images."""
    engine = GatedEngine(lethal=[1])
    async with running(engine=engine, max_batch=2) as service:
        first = asyncio.ensure_future(service.predict(grey(1)))
        await engine.entered()
        files = [("a", (str(i), grey(i))) for i in (2, 3)]
        stacked = asyncio.ensure_future(service.client.post("/v1/predict", files=files))
        await until(lambda: has_calls(service, 2))
        engine.open(5)
        replies = await asyncio.gather(first, stacked)
        images = await lost_images(service)
        crashes = await service.metric("sge_engine_crashes_total")

    assert [reply.json()["error"]["code"] for reply in replies] == ["engine_lost", "engine_lost"]
    assert images == {"expired": 0, "disconnected": 0, "failed": 3}
    assert crashes == 1


async def has_calls(service: Running, calls: int) -> bool:
    """Whether so many batches are on the device's thread or wait for it."""
    return service.runtime.models._device._unfinished == calls


async def test_masks_that_are_not_finite_are_a_failure_of_the_model() -> None:
    """A request that asks for them fails and is counted; one that does not is answered."""

    class Overflowing(FakeEngine):
        def infer(self, batch: tuple[int, ...], extras: frozenset[str]) -> EngineOutputs:
            outputs = super().infer(batch, extras)
            flat = np.full((len(batch), 8, 2, 2), np.nan, np.float32)
            return EngineOutputs(outputs.logits, dict.fromkeys(outputs.similarities, flat))

    async with running(engine=Overflowing()) as service:
        plain = await service.predict(grey(1))
        masked = await service.predict(grey(1), "masks=last")
        images = await lost_images(service)

    assert (plain.status_code, masked.status_code) == (200, 500)
    assert masked.json()["error"]["code"] == "engine_failed"
    assert images == {"expired": 0, "disconnected": 0, "failed": 1}
