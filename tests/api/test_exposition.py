"""Metrics in both forms: which one a client gets, and the exemplars that one of them has."""

from __future__ import annotations

import re

import pytest
from opentelemetry.trace import format_trace_id
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from service.api.exposition import OPEN_METRICS, prefers_open_metrics, write_metrics
from service.metrics import Metrics
from tests.fakes import FakeEngine
from tests.running import grey, running
from tests.tracing.recorded import Recorded, context_of

OF_PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
QUIET = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"}


@pytest.mark.parametrize(
    ("accept", "is_preferred"),
    [
        ([OF_PROMETHEUS], True),
        ([OPEN_METRICS], True),
        ([f"{OPEN_METRICS}; version=1.0.0, {OPEN_METRICS}"], True),
        (["text/html", f"{OPEN_METRICS.upper()}; VERSION=1.0.0"], True),
        ([], False),
        (["*/*"], False),
        (["text/plain"], False),
        ([f"text/plain, {OPEN_METRICS};q=0.5"], False),
        ([f"{OPEN_METRICS};q=0"], False),
        ([f"{OPEN_METRICS};version=0.0.1"], False),
        ([f"{OPEN_METRICS};version=x"], False),
        ([f"{OPEN_METRICS};version={'9' * 5000}"], False),
        ([f"{OPEN_METRICS};q=much"], False),
        ([";,;=;q"], False),
    ],
)
def test_openmetrics_is_for_who_prefers_it(accept: list[str], *, is_preferred: bool) -> None:
    """Everybody else gets the text format, also who asks for what nobody knows."""
    assert prefers_open_metrics(accept) == is_preferred


def test_the_text_format_is_as_it_always_was() -> None:
    """Byte for byte."""
    registry = CollectorRegistry()
    Metrics(registry).received.inc()

    assert write_metrics(registry, ["*/*"]) == (generate_latest(registry), CONTENT_TYPE_LATEST)


@pytest.mark.anyio
async def test_both_forms_name_the_same_series() -> None:
    """What a dashboard or an alert asks for is there, whichever form Prometheus has read."""
    async with running(engine=FakeEngine()) as service:
        await service.predict(grey(1))
        plain = await service.client.get("/metrics")
        other = await service.client.get("/metrics", headers={"Accept": OF_PROMETHEUS})

    series = re.compile(r"^[a-z_]+(?:\{[^}]*\})? ", re.MULTILINE)
    assert (
        other.headers["content-type"]
        == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    )
    assert set(series.findall(other.text)) == set(series.findall(plain.text))


@pytest.mark.anyio
async def test_the_histograms_of_latency_lead_to_traces() -> None:
    """A sampled request is an exemplar of each of its phases; one that is not sampled is none."""
    recorded = Recorded()
    async with running(engine=FakeEngine(), tracer=recorded.tracer) as service:
        await service.predict(grey(1), **QUIET)
        before = await service.client.get("/metrics", headers={"Accept": OF_PROMETHEUS})
        await service.predict(grey(1))
        after = await service.client.get("/metrics", headers={"Accept": OF_PROMETHEUS})

    (request,) = recorded.requests()
    trace_id = format_trace_id(context_of(request).trace_id)
    exemplars = {
        (sample.labels["phase"], sample.exemplar.labels["trace_id"])
        for family in text_string_to_metric_families(after.text)  # type: ignore[no-untyped-call]
        if family.name == "sge_phase_seconds"
        for sample in family.samples
        if sample.exemplar
    }
    assert "# {" not in before.text
    assert exemplars == {
        (phase, trace_id) for phase in ("decode", "queue", "infer", "postprocess", "total")
    }
