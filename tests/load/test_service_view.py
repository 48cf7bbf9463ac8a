"""The service's metrics over a stretch of time."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from service.metrics import PHASES, Metrics
from tests.load.service_view import ServiceView


def observe(metrics: Metrics, model: str, *totals_s: float) -> None:
    """Answer requests of a model, one image each."""
    for total_s in totals_s:
        metrics.requests.labels(model, "1", "ok").inc()
        metrics.phase.labels(model, "1", "total").observe(total_s)
        metrics.batch_size.labels(model, "1").observe(1)


def test_a_view_holds_what_came_between_two_readings() -> None:
    """What was counted before is not in it; models are summed."""
    metrics = Metrics(CollectorRegistry())
    observe(metrics, "a", 30.0)
    before = generate_latest(metrics.registry).decode()
    observe(metrics, "a", 0.003, 0.004)
    observe(metrics, "b", 0.08)
    metrics.requests.labels("a", "1", "overloaded").inc(2)

    view = ServiceView.between(before, generate_latest(metrics.registry).decode())

    total = view.phases["total"]
    assert view.outcomes == {"ok": 3, "overloaded": 2}
    assert total.count == 3
    assert total.mean == pytest.approx(0.029)
    assert total.bracket(0.5) == (0.0025, 0.005)
    assert total.bracket(0.99) == (0.05, 0.1)
    assert view.batch_size.count == 3


def test_processor_time_is_the_services_own() -> None:
    """Where its system tells it; of models there may be many, of processes one."""
    metrics = Metrics(CollectorRegistry())
    silent = generate_latest(metrics.registry).decode()

    def used(seconds: float) -> str:
        line = f"process_cpu_seconds_total {seconds}"
        return f"{silent}# TYPE process_cpu_seconds counter\n{line}\n"

    assert ServiceView.between(used(2.5), used(4.0)).processor_s == pytest.approx(1.5)
    assert ServiceView.between(silent, silent).processor_s is None


def test_a_silent_service_has_an_empty_view() -> None:
    """Nothing is counted, every mean is 0, every phase is there."""
    text = generate_latest(Metrics(CollectorRegistry()).registry).decode()

    view = ServiceView.between(text, text)

    assert view.outcomes == {}
    assert set(view.phases) == set(PHASES)
    assert (view.batch_s.count, view.batch_s.mean) == (0, 0)
