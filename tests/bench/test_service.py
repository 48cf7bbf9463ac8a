"""The service with a tiny model behind a real socket, and the arithmetic of its windows."""

from __future__ import annotations

import itertools

import pytest

from service.config import Settings
from service.errors import EngineFailed
from tests.bench.report import RATIOS, Report
from tests.bench.service import (
    ALONE,
    TENSOR,
    TENSOR_GRPC,
    Window,
    bench_service,
    loads_for,
    run_alone,
    window_of,
)
from tests.running import tiny_model


def bench(max_in_flight: int = 16) -> Report:
    """Measure a round of a service that has four clients, and of a clock that each look moves."""
    looks = itertools.count()
    settings = Settings(
        engine="eager", device="cpu", tiered=False, max_batch=4, max_in_flight=max_in_flight
    )
    return bench_service(
        tiny_model(),
        settings,
        {},
        print,
        lambda: float(next(looks)),
        clients=4,
        rounds=1,
        window_s=40,
    )


@pytest.mark.slow
def test_the_engine_and_every_load_get_a_row() -> None:
    """All requests are answered, and the ratios that the service is judged by are there."""
    report = bench()

    http = list(loads_for(tiny_model()))
    assert [row.label.model for row in report.rows] == [ALONE, TENSOR, TENSOR_GRPC, *http[1:]]
    assert all(row.images_per_s > 0 and row.ms_p50 > 0 for row in report.rows)
    assert set(report.ratios) <= set(RATIOS)
    assert None not in report.ratios.values()


@pytest.mark.slow
def test_a_service_that_refuses_ends_the_run() -> None:
    """A rate of refusals would look like speed."""
    with pytest.raises(EngineFailed, match=r"^the service answered 503"):
        bench(max_in_flight=1)


def test_a_window_counts_from_the_first_full_wave() -> None:
    """The answers of a service that was empty a moment ago are left out."""
    wave = [(1.0, 1.0), (1.1, 1.1)]
    steady = [(2.0, 0.9), (2.1, 0.9), (3.0, 0.5), (3.1, 0.9)]

    assert window_of(steady + wave, warm_up=2) == Window(4 / 2.0, 0.9)


def test_too_short_a_window_is_refused() -> None:
    """One wave of answers tells no rate."""
    with pytest.raises(EngineFailed, match=r"^2 answers in a window, more than 2 are needed"):
        window_of([(1.0, 1.0), (1.1, 1.1)], warm_up=2)


def test_the_engine_alone_runs_for_a_window() -> None:
    """Full batches over their time, the first run left out."""
    now = [0.0]

    def run() -> None:
        now[0] += 0.25

    window = run_alone(run, 4, 1.0, lambda: now[0])

    assert window == Window(16.0, 0.25)
    assert now == [1.25]
