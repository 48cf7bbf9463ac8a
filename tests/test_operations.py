"""What operators see: models, readiness, metrics, and the life of engines."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.types import Message

from service.config import Settings
from service.engines.plan import EnginePlan
from service.errors import BadSetting
from service.runtime import build_runtime
from service.store import StoreContents
from tests.fakes import FakeEngine, GatedEngine
from tests.running import Running, grey, running, tiny_bundle

pytestmark = pytest.mark.anyio


async def until(claim: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something becomes true; the test's time-out bounds it."""
    while not await claim():
        await asyncio.to_thread(lambda: None)  # lets the engine's threads have their turn


async def test_models_are_listed_and_described() -> None:
    """The list has versions and the default; a description has labels, input, blocks, engine."""
    async with running(tiny_bundle(), tiny_bundle(version="10"), tiny_bundle(version="2")) as s:
        listed = (await s.client.get("/v1/models")).json()
        described = (await s.client.get("/v1/models/tiny")).json()
        older = (await s.client.get("/v1/models/tiny?version=2")).json()
        unknown = await s.client.get("/v1/models/other")

    assert listed == {"models": [{"name": "tiny", "versions": ["1", "2", "10"], "default": True}]}
    assert (described["version"], older["version"]) == ("10", "2")
    assert described["labels"] == ["cat", "dog", "gnu"]
    assert described["blocks"][-1] == {"name": "layer4.1", "groups": 8, "height": 2, "width": 2}
    assert described["engine"]["name"] == "eager"
    assert described["engine"]["tier"] == "final"
    assert unknown.status_code == 404


async def test_several_models_without_a_default_must_be_named() -> None:
    """A request that names none is told what there is."""
    async with running(tiny_bundle("a"), tiny_bundle("b")) as service:
        unnamed = await service.predict(grey(1))
        named = await service.predict(grey(1), "model=b")

    assert unnamed.json()["error"]["message"] == "name a model, served are: a, b"
    assert named.json()["model"]["name"] == "b"


def test_a_default_that_is_not_served_is_refused() -> None:
    """The setting and what is served are named."""
    contents = StoreContents((tiny_bundle(),), ())

    with pytest.raises(BadSetting, match="SGE_DEFAULT_MODEL=other is not served, served are: tiny"):
        build_runtime(Settings(default_model="other"), contents)


async def test_a_loading_model_is_alive_but_not_ready() -> None:
    """Until the first engine has run, requests get 503 and readiness says why."""

    class Slow(GatedEngine):
        def warm_up_sizes(self, max_batch: int) -> list[int]:
            return [1]

    engine = Slow()
    async with running(engine=engine, is_awaited=False) as service:
        await engine.entered()
        alive = await service.client.get("/healthz")
        ready = await service.client.get("/readyz")
        refused = await service.predict(grey(1))
        engine.open(2)
        await until(lambda: _is_ready(service))

    assert (alive.status_code, ready.status_code, refused.status_code) == (200, 503, 503)
    assert ready.json()["models"]["tiny/1"]["tier"] == "loading"
    assert refused.json()["error"]["message"] == "tiny/1 is loading"


async def test_the_final_engine_takes_over_without_failing_a_request() -> None:
    """While it is built the first one answers; afterwards it does."""
    first, final = FakeEngine(), GatedEngine()
    final.warm_up_sizes = lambda max_batch: [1]  # type: ignore[method-assign]
    async with running(engines=EnginePlan(first, final)) as service:
        await final.entered()
        before = await service.predict(grey(1))
        tier = await _tier(service)
        final.open(10)
        await until(lambda: _has_tier(service, "final"))
        after = await service.predict(grey(2))

    assert (before.status_code, tier, after.status_code) == (200, "first", 200)
    assert (len(first.ran), first.is_closed) == (2 + 1, True)  # two of the warm-up
    assert final.ran[-1].values == (2,)


async def test_an_engine_that_cannot_be_built_is_fallen_back_from_in_the_open() -> None:
    """The first engine stays, and readiness, model and metrics say so, with the reason."""

    class Unbuildable(FakeEngine):
        def load(self) -> None:
            raise OSError("no C++ compiler")

    async with running(engines=EnginePlan(FakeEngine(), Unbuildable())) as service:
        await until(lambda: _has_tier(service, "fallback"))
        reply = await service.predict(grey(1))
        engine = (await service.client.get("/v1/models/tiny")).json()["engine"]
        counted = await service.metric('sge_engine_fallbacks_total{model="tiny",version="1"}')

    assert (reply.status_code, counted) == (200, 1)
    assert engine["fallback_reason"] == "the engine raised OSError: no C++ compiler"


async def test_the_service_survives_the_death_of_its_engine() -> None:
    """The image on board fails, readiness goes and comes back, the next image is answered."""
    engine = FakeEngine(lethal=[9])
    async with running(engine=engine) as service:
        lost = await service.predict(grey(9))
        await until(lambda: _is_ready(service))
        answered = await service.predict(grey(1))
        restarts = await service.metric("sge_engine_restarts_total")

    assert (lost.status_code, lost.json()["error"]["code"]) == (500, "engine_lost")
    assert (answered.status_code, restarts) == (200, 1)


async def test_a_client_that_hangs_up_is_taken_out_of_the_queue() -> None:
    """The engine never sees its image, and the outcome is counted."""
    engine = GatedEngine()
    async with running(engine=engine, max_batch=2) as service:
        first = asyncio.ensure_future(service.predict(grey(1)))
        await engine.entered()
        body: list[Message] = [
            {"type": "http.request", "body": grey(2)},
            {"type": "http.disconnect"},
        ]
        queued = asyncio.Event()

        async def receive() -> Message:
            if len(body) == 1:
                await queued.wait()
            return body.pop(0)

        async def send(message: Message) -> None:
            pass

        second = asyncio.ensure_future(service.app(dict(_SCOPE), receive, send))
        await until(lambda: _depth_is(service, 1))
        queued.set()
        await second
        engine.open(2)
        await first
        last = await service.predict(grey(3))
        left = await service.metric(
            'sge_requests_total{model="tiny",outcome="disconnected",version="1"}'
        )

    assert (last.status_code, left) == (200, 1)
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
        if sample.name.endswith("_total")
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


async def test_the_examples_of_the_openapi_document_work() -> None:
    """The example body is answered, and the example reply has the reply's own shape."""
    async with running() as service:
        document = (await service.client.get("/openapi.json")).json()
        operation = document["paths"]["/v1/predict"]["post"]
        example = operation["requestBody"]["content"]["application/json"]["example"]
        reply = await service.client.post("/v1/predict?masks=last", json=example)

    shown = operation["responses"]["200"]["content"]["application/json"]["example"]
    assert reply.status_code == 200
    assert reply.json().keys() == shown.keys()
    assert reply.json()["results"][0].keys() == shown["results"][0].keys()
    assert reply.json()["results"][0]["masks"][0].keys() == shown["results"][0]["masks"][0].keys()
    assert {"400", "404", "413", "415", "422", "429", "500", "503", "504"} <= operation[
        "responses"
    ].keys()


async def test_every_reference_of_the_openapi_document_resolves() -> None:
    """Each schema that is referred to is there."""
    async with running(engine=FakeEngine()) as service:
        text = (await service.client.get("/openapi.json")).text
        schemas = (await service.client.get("/openapi.json")).json()["components"]["schemas"]

    assert set(re.findall(r"#/components/schemas/(\w+)", text)) <= schemas.keys()


async def test_the_page_needs_nothing_from_elsewhere() -> None:
    """The page and what it loads come from the service, under a policy that allows no other."""
    async with running(engine=FakeEngine()) as service:
        page = await service.client.get("/")
        parts = re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text)
        loaded = [await service.client.get(part) for part in parts]

    assert page.headers["content-security-policy"].startswith("default-src 'self'")
    assert {part.status_code for part in loaded} == {200}
    assert len(parts) >= 2
    assert "http://" not in page.text.replace("http://www.w3.org", "")


_SCOPE = {
    "type": "http",
    "method": "POST",
    "path": "/v1/predict",
    "raw_path": b"/v1/predict",
    "query_string": b"",
    "headers": [(b"content-type", b"image/png")],
    "http_version": "1.1",
    "scheme": "http",
    "server": ("service", 80),
    "client": ("127.0.0.1", 1),
}


async def _is_ready(service: Running) -> bool:
    return (await service.client.get("/readyz")).status_code == 200


async def _tier(service: Running) -> str:
    tier: str = (await service.client.get("/v1/models/tiny")).json()["engine"]["tier"]
    return tier


async def _has_tier(service: Running, tier: str) -> bool:
    return await _tier(service) == tier


async def _depth_is(service: Running, depth: int) -> bool:
    return next(iter(service.runtime.models)).batcher.depth == depth
