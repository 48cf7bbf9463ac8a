"""`bench service`: a tiny model behind a real socket, and the arithmetic of its windows."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from service.config import Settings
from service.errors import EngineFailed
from tests.bench import loopback
from tests.bench.loopback import ServiceBench, bench_service, loads_for, run_alone
from tests.bench.report import RATIOS
from tests.bench.test_report import MACHINE
from tests.bench.window import window_of
from tests.running import tiny_model

WANTED = ServiceBench(
    model=tiny_model(),
    settings=Settings(engine="eager", device="cpu", precision="fp32", max_batch=4, tiered=False),
    clients=4,
    rounds=1,
    window_s=1.0,
)


@pytest.mark.slow
def test_the_engine_and_every_load_get_a_row() -> None:
    """All requests are answered, and the ratios that the service is judged by are there."""
    report = bench_service(WANTED, MACHINE, lambda _: None, time.perf_counter)

    models = [row.label.model for row in report.rows]
    loads = [load.name for load in loads_for(WANTED.model)]
    assert models == [loopback.ALONE, *loads]
    assert all(row.images_per_s > 0 and row.ms_p50 > 0 for row in report.rows)
    assert set(report.ratios) <= set(RATIOS)
    assert None not in report.ratios.values()


@pytest.mark.slow
def test_a_service_that_refuses_ends_the_run() -> None:
    """A rate of refusals would look like speed."""
    settings = WANTED.settings.model_copy(update={"max_in_flight": 1})

    with pytest.raises(EngineFailed, match=r"^the service answered 503"):
        bench_service(
            replace(WANTED, settings=settings), MACHINE, lambda _: None, time.perf_counter
        )


def test_a_window_counts_from_the_first_full_wave() -> None:
    """The answers of a service that was empty a moment ago are left out."""
    wave = [(1.0, 1.0), (1.1, 1.1)]
    steady = [(2.0, 0.9), (2.1, 0.9), (3.0, 0.5), (3.1, 0.9)]

    window = window_of(steady + wave, warm_up=2)

    assert window.images_per_s == pytest.approx(4 / 2.0)
    assert window.median_s == 0.9


def test_too_short_a_window_is_refused() -> None:
    """One wave of answers tells no rate."""
    with pytest.raises(EngineFailed, match=r"^2 answers in a window, more than 2 are needed"):
        window_of([(1.0, 1.0), (1.1, 1.1)], warm_up=2)


def test_the_engine_alone_runs_for_a_window() -> None:
    """Full batches over their time, the first run left out."""
    now = [0.0]

    def run() -> None:
        now[0] += 0.25

    window = run_alone(run, WANTED, lambda: now[0])

    assert (window.images_per_s, window.median_s) == (16.0, 0.25)
    assert now == [1.25]
