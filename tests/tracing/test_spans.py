"""A request's way as spans: which there are, how they hang together, and what they say."""

from __future__ import annotations

import asyncio
import itertools
import time
from pathlib import Path

import pytest
from opentelemetry.trace import StatusCode, format_span_id, format_trace_id
from starlette.types import Message
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from service.api.key_file import add_key
from tests.fakes import FakeEngine, GatedEngine
from tests.running import PNG, Running, grey, running, until
from tests.tracing.recorded import Recorded, context_of, times_of

pytestmark = pytest.mark.anyio

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PHASES = ["body", "decode", "queue", "batch", "answer"]
PREDICT = "POST /v1/predict"


@pytest.fixture
def recorded() -> Recorded:
    """A tracer that has made nothing yet."""
    return Recorded()


async def has_calls(service: Running, calls: int) -> bool:
    """Whether so many batches are on the device's thread or wait for it."""
    return service.runtime.models._device._unfinished == calls


def form(*values: int) -> list[tuple[str, tuple[str, bytes]]]:
    """A form of grey pictures."""
    return [("a", (f"{value}.png", grey(value))) for value in values]


async def test_a_request_has_a_span_and_below_it_one_for_each_phase(recorded: Recorded) -> None:
    """One begins where another ends, and all lie within the request's own."""
    before = time.time_ns()
    async with running(engine=FakeEngine(), tracer=recorded.tracer) as service:
        await service.predict(grey(1))
    after = time.time_ns()

    (request,) = recorded.requests()
    phases = recorded.below(request)
    moments = [moment for span in phases for moment in times_of(span)]
    (began, ended) = times_of(request)
    assert list(recorded.tree()) == [(PREDICT, PHASES)]
    assert [before, *times_of(request), after] == sorted([before, *times_of(request), after])
    assert [began, *moments, ended] == sorted([began, *moments, ended])
    assert moments[0] == began
    assert moments[-1] == ended


async def test_a_span_says_what_became_of_its_request(recorded: Recorded) -> None:
    """By the conventions for HTTP, and in the words of the access log."""
    async with running(engine=FakeEngine(), tracer=recorded.tracer) as service:
        await service.predict(grey(1), x_request_id="mine")

    (request,) = recorded.requests()
    assert dict(request.attributes or {}) == {
        "http.request.method": "POST",
        "http.route": "/v1/predict",
        "http.response.status_code": 200,
        "url.path": "/v1/predict",
        "url.scheme": "http",
        "sge.request_id": "mine",
        "sge.outcome": "ok",
        "sge.model": "tiny",
        "sge.model.version": "1",
        "sge.images": 1,
        "sge.engine": "fake",
        "sge.tier": "final",
        "sge.batch_size": 1,
    }
    assert request.status.status_code == StatusCode.UNSET


@pytest.mark.parametrize(
    ("path", "name", "phases"),
    [
        ("/v2/models/tiny-image/infer", "POST /v2/models/{name}/infer", PHASES),
        (
            "/v2/models/tiny-image/versions/1/infer",
            "POST /v2/models/{name}/versions/{version}/infer",
            PHASES,
        ),
        ("/v2/models/other/infer", "POST /v2/models/{name}/infer", []),
        ("/v1/nothing", "POST", []),
    ],
)
async def test_a_span_is_named_by_its_route(
    recorded: Recorded, path: str, name: str, phases: list[str]
) -> None:
    """Of which there are few, whatever clients ask for; the other protocol has the same phases."""
    headers = PNG | {"Inference-Header-Content-Length": "0"}
    async with running(engine=FakeEngine(), tracer=recorded.tracer) as service:
        await service.client.post(path, content=grey(1), headers=headers)

    assert list(recorded.tree()) == [(name, phases)]


async def test_a_made_up_method_names_no_span(recorded: Recorded) -> None:
    """It is one of those that are none."""
    async with running(engine=FakeEngine(), tracer=recorded.tracer) as service:
        await service.client.request("BREW", "/coffee")

    (request,) = recorded.requests()
    assert request.name == "HTTP"
    assert (request.attributes or {})["http.request.method"] == "_OTHER"


async def test_probes_have_no_spans(recorded: Recorded) -> None:
    """A cluster asks every few seconds."""
    probes = ["/healthz", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"]
    async with running(engine=FakeEngine(), tracer=recorded.tracer) as service:
        for path in probes:
            await service.client.get(path)

    assert recorded.spans == ()


async def test_a_batch_is_linked_to_the_requests_it_served(recorded: Recorded) -> None:
    """It has one span in a trace of its own, and each request's batch is linked to that."""
    engine = GatedEngine()
    async with running(engine=engine, tracer=recorded.tracer, max_batch=2) as service:
        first = asyncio.ensure_future(service.predict(grey(1)))
        await engine.entered()
        both = [asyncio.ensure_future(service.predict(grey(value))) for value in (2, 3)]
        await until(lambda: has_calls(service, 2))
        engine.open(2)
        await asyncio.gather(first, *both)

    alone, together = recorded.batches()
    requests = {context_of(request).span_id: request for request in recorded.requests()}
    linked = [link.context.span_id for link in together.links]
    assert len(alone.links) == 1
    assert len(set(linked)) == 2
    assert set(linked) | {alone.links[0].context.span_id} == set(requests)
    assert together.parent is None
    assert (together.attributes or {})["sge.batch_size"] == 2
    for span_id in linked:
        (ride,) = (span for span in recorded.below(requests[span_id]) if span.name == "batch")
        assert [link.context for link in ride.links] == [context_of(together)]
        assert dict(ride.attributes or {}) == {
            "sge.model": "tiny",
            "sge.model.version": "1",
            "sge.engine": "fake",
            "sge.batch_size": 2,
            "sge.images": 1,
        }


async def test_the_images_of_a_request_ride_in_as_many_batches_as_they_need(
    recorded: Recorded,
) -> None:
    """Each batch has one link to it, which says how many of them were in it."""
    async with running(engine=FakeEngine(), tracer=recorded.tracer, max_batch=2) as service:
        await service.client.post("/v1/predict", files=form(1, 2, 3))

    (request,) = recorded.requests()
    assert [span.name for span in recorded.below(request)] == [*PHASES[:3], "batch", *PHASES[3:]]
    links = [link for batch in recorded.batches() for link in batch.links]
    assert [dict(link.attributes or {}) for link in links] == [
        {"sge.images": 2},
        {"sge.images": 1},
    ]
    assert (request.attributes or {})["sge.batch_size"] == 2


async def test_a_batch_that_fails_says_so(recorded: Recorded) -> None:
    """With those of its halves; the request that it served well has no fault."""
    engine = GatedEngine(raises=[2])
    async with running(engine=engine, tracer=recorded.tracer, max_batch=2) as service:
        first = asyncio.ensure_future(service.predict(grey(1)))
        await engine.entered()
        both = [asyncio.ensure_future(service.predict(grey(value))) for value in (2, 3)]
        await until(lambda: has_calls(service, 2))
        engine.open(4)
        replies = await asyncio.gather(first, *both)

    faults = [
        ((span.attributes or {})["sge.batch_size"], span.status.is_ok, len(span.links))
        for span in recorded.batches()
    ]
    told = {
        (request.attributes or {})["http.response.status_code"]: (
            request.status.status_code,
            (request.attributes or {}).get("error.type"),
        )
        for request in recorded.requests()
    }
    assert [reply.status_code for reply in replies] == [200, 500, 200]
    assert faults[:2] == [(1, True, 1), (2, False, 2)]
    assert sorted(faults[2:]) == [(1, False, 1), (1, True, 1)]
    assert told == {
        200: (StatusCode.UNSET, None),
        500: (StatusCode.ERROR, "engine_failed"),
    }


async def test_a_client_that_hangs_up_leaves_its_span(recorded: Recorded) -> None:
    """It ends in the queue, and is no fault of the service."""
    engine = GatedEngine()
    body: list[Message] = [{"type": "http.request", "body": grey(2)}, {"type": "http.disconnect"}]
    queued = asyncio.Event()

    async def receive() -> Message:
        if len(body) == 1:
            await queued.wait()
        return body.pop(0)

    async with running(engine=engine, tracer=recorded.tracer, max_batch=2) as service:
        first = asyncio.ensure_future(service.predict(grey(1)))
        await engine.entered()
        second = asyncio.ensure_future(service.converse(receive))
        await until(lambda: service.has_queued(1))
        queued.set()
        await second
        engine.open(1)
        await first

    left = recorded.requests()[1]
    assert [span.name for span in recorded.below(left)] == ["body", "decode", "queue"]
    assert (left.attributes or {})["sge.outcome"] == "disconnected"
    assert left.status.status_code == StatusCode.UNSET


@pytest.mark.parametrize(
    ("headers", "status", "fault", "phases"),
    [
        ({"X-Request-Deadline-Ms": "0.001"}, 504, "deadline_exceeded", []),
        ({"Content-Type": "text/plain"}, 415, None, ["body"]),
        ({"Content-Encoding": "br"}, 415, None, ["body"]),
    ],
)
async def test_a_refused_request_has_a_span(
    recorded: Recorded,
    headers: dict[str, str],
    status: int,
    fault: str | None,
    phases: list[str],
) -> None:
    """Below it as many phases as it came to; only what is not the client's fault is an error."""
    async with running(engine=FakeEngine(), tracer=recorded.tracer) as service:
        reply = await service.client.post("/v1/predict", content=grey(1), headers=PNG | headers)

    (request,) = recorded.requests()
    assert reply.status_code == status
    assert list(recorded.tree()) == [(PREDICT, phases)]
    assert (request.attributes or {}).get("error.type") == fault
    assert request.status.status_code == (StatusCode.ERROR if fault else StatusCode.UNSET)


async def test_no_secret_and_no_name_of_a_file_is_in_a_span(
    recorded: Recorded, tmp_path: Path
) -> None:
    """Neither of a request that is let in, nor of one that stays outside."""
    keys = tmp_path / "keys"
    key = add_key(keys, "client")
    secrets = {key, "wrong-key", "hidden-query", "hidden-file", "hidden-header", "hidden-state"}
    path = "/v1/predict?top_k=1&token=hidden-query"
    files = [("a", ("hidden-file.png", grey(1)))]
    async with running(engine=FakeEngine(), tracer=recorded.tracer, api_keys_file=keys) as service:
        for sent in (key, "wrong-key"):
            headers = {"X-API-Key": sent, "X-Other": "hidden-header", "Baggage": "a=hidden-header"}
            await service.client.post(path, files=files, headers=headers)

    text = "".join(span.to_json() for span in recorded.spans)
    statuses = [(s.attributes or {})["http.response.status_code"] for s in recorded.requests()]
    assert 401 in statuses
    assert [secret for secret in secrets if secret in text] == []


@pytest.mark.parametrize("version", ["00", "cc"])
async def test_a_clients_trace_goes_on(recorded: Recorded, version: str) -> None:
    """The request's span is below the client's, which hands on what other systems say of it."""
    headers = {"traceparent": f"{version}-{TRACE}-{SPAN}-01", "tracestate": "other=1"}
    async with running(engine=FakeEngine(), tracer=recorded.tracer) as service:
        await service.client.post("/v1/predict", content=grey(1), headers=PNG | headers)

    (request,) = recorded.requests()
    assert request.parent is not None
    assert format_trace_id(context_of(request).trace_id) == TRACE
    assert format_span_id(request.parent.span_id) == SPAN
    assert context_of(request).trace_state.get("other") == "1"
    assert {context_of(span).trace_id for span in recorded.below(request)} == {int(TRACE, 16)}


@pytest.mark.parametrize(
    "header", ["", "no trace", f"ff-{TRACE}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01"]
)
async def test_a_trace_that_is_none_is_begun_anew(recorded: Recorded, header: str) -> None:
    """As if nothing had been said."""
    async with running(engine=FakeEngine(), tracer=recorded.tracer) as service:
        headers = PNG | {"traceparent": header, "tracestate": "other=1"}
        await service.client.post("/v1/predict", content=grey(1), headers=headers)

    (request,) = recorded.requests()
    assert request.parent is None
    assert format_trace_id(context_of(request).trace_id) != TRACE
    assert len(context_of(request).trace_state) == 0


async def test_what_a_client_does_not_sample_has_no_spans(recorded: Recorded) -> None:
    """Its trace is named by the log all the same; a batch is linked to the others in it alone."""
    engine = GatedEngine()
    quiet = {"traceparent": f"00-{TRACE}-{SPAN}-00"}
    async with running(engine=engine, tracer=recorded.tracer, max_batch=2) as service:
        with capture_logs(processors=[merge_contextvars]) as lines:
            first = asyncio.ensure_future(service.predict(grey(1), **quiet))
            await engine.entered()
            both = [
                asyncio.ensure_future(service.predict(grey(2), **quiet)),
                asyncio.ensure_future(service.predict(grey(3))),
            ]
            await until(lambda: has_calls(service, 2))
            engine.open(2)
            await asyncio.gather(first, *both)

    (request,), (batch,) = recorded.requests(), recorded.batches()
    assert [link.context for link in batch.links] == [context_of(request)]
    traced = sorted(line["trace_id"] for line in lines)
    assert traced == sorted([TRACE, TRACE, format_trace_id(context_of(request).trace_id)])
    assert len({line["span_id"] for line in lines}) == 3


async def test_lines_of_a_request_lead_to_its_span(recorded: Recorded) -> None:
    """Each says the ids of its trace and its span."""
    async with running(engine=FakeEngine(), tracer=recorded.tracer) as service:
        with capture_logs(processors=[merge_contextvars]) as lines:
            await service.predict(grey(1))

    (request,) = recorded.requests()
    ids = context_of(request)
    assert [(line["trace_id"], line["span_id"]) for line in lines] == [
        (format_trace_id(ids.trace_id), format_span_id(ids.span_id))
    ]


async def test_spans_of_many_requests_at_once_are_not_mixed_up(recorded: Recorded) -> None:
    """Each has its own phases, below its own span, in a trace of its own."""
    async with running(engine=FakeEngine(), tracer=recorded.tracer) as service:
        await asyncio.gather(*(service.predict(grey(value)) for value in range(20)))

    traces = {context_of(request).trace_id for request in recorded.requests()}
    linked = itertools.chain.from_iterable(batch.links for batch in recorded.batches())
    assert list(recorded.tree()) == [(PREDICT, PHASES)] * 20
    assert len(traces) == 20
    assert sorted(link.context.trace_id for link in linked) == sorted(traces)


async def test_the_frameworks_own_spans_are_shut(recorded: Recorded) -> None:
    """Whoever else fills OpenTelemetry's global provider gets none with a query in them."""
    async with running(engine=FakeEngine(), tracer=recorded.tracer) as service:
        telemetry = service.app._telemetry

    assert {name: telemetry[name] for name in ("tracing", "metrics", "logs", "auto_configure")} == {
        "tracing": False,
        "metrics": False,
        "logs": False,
        "auto_configure": False,
    }
