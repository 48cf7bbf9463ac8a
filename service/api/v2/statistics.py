"""What a served model has done so far, in the protocol's form; the numbers are those of `/metrics`.

The three views of a model share its batches, and so its statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter

from service.api.bounded_route import BoundedRoute
from service.api.cancellation import off_the_loop
from service.api.context import Outcome, RuntimeOf
from service.api.v2.documentation import EVERY_ROUTE, NO_MODEL, NO_ROOM
from service.api.v2.paths import MODEL, VERSION, ViewOf
from service.api.v2.views import View, every_view, name_of
from service.metrics import Metrics
from service.serving.served_model import ServedModel

NS_PER_S = 1_000_000_000
PHASE_OF = {
    "success": "total",
    "queue": "queue",
    "compute_input": "decode",
    "compute_infer": "infer",
    "compute_output": "postprocess",
}
NEVER = {"count": 0, "ns": 0}

router = APIRouter(
    tags=["Open Inference Protocol"], route_class=BoundedRoute, responses=EVERY_ROUTE
)


@router.get("/v2/models/stats", summary="What every model has done", responses=NO_ROOM)
async def every_statistics(runtime: RuntimeOf) -> dict[str, Any]:
    """Return the statistics of every view of every model."""
    return await off_the_loop(
        describe_statistics, list(every_view(runtime.models)), runtime.metrics
    )


@router.get(f"{MODEL}/stats", summary="What a model has done", responses=NO_MODEL)
@router.get(f"{VERSION}/stats", summary="What a version has done", responses=NO_MODEL)
async def statistics(runtime: RuntimeOf, view: ViewOf) -> dict[str, Any]:
    """Return a model's statistics; its three views share them, as they share batches."""
    return await off_the_loop(describe_statistics, [view], runtime.metrics)


def describe_statistics(views: Sequence[View], metrics: Metrics) -> dict[str, Any]:
    """Give the entries of views; of ten models the counters take tens of milliseconds."""
    failures = failures_of(metrics)
    return {
        "model_stats": [
            statistics_of(view, metrics, failures.get(view.model.metric_labels, 0))
            for view in views
        ]
    }


def statistics_of(view: View, metrics: Metrics, failures: int) -> dict[str, Any]:
    """Give one entry of `model_stats`.

    Of a request that failed only the count is kept, and of the stacking of a batch nothing: their
    times are 0.
    """
    model = view.model
    tallies = sorted(model.account.tallies.copy().items())  # the event loop adds to them
    return {
        "name": name_of(view),
        "version": model.version,
        "last_inference": int(model.account.last_batch_at_s * 1000),
        "inference_count": sum(size * tally.batches for size, tally in tallies),
        "execution_count": sum(tally.batches for _, tally in tallies),
        "inference_stats": {
            **{name: _spent(metrics, model, phase) for name, phase in PHASE_OF.items()},
            "fail": {"count": failures, "ns": 0},
            "cache_hit": NEVER,
            "cache_miss": NEVER,
        },
        "batch_stats": [
            {
                "batch_size": size,
                "compute_input": {"count": tally.batches, "ns": 0},
                "compute_infer": {"count": tally.batches, "ns": int(tally.seconds * NS_PER_S)},
                "compute_output": {"count": tally.batches, "ns": 0},
            }
            for size, tally in tallies
        ],
        "memory_usage": [],
    }


def _spent(metrics: Metrics, model: ServedModel, phase: str) -> dict[str, int]:
    """Requests that went through a phase, and their time in it."""
    found = {
        sample.name: sample.value
        for family in metrics.phase.labels(*model.metric_labels, phase).collect()
        for sample in family.samples
    }
    return {
        "count": int(found["sge_phase_seconds_count"]),
        "ns": int(found["sge_phase_seconds_sum"] * NS_PER_S),
    }


def failures_of(metrics: Metrics) -> dict[tuple[str, str], int]:
    """How many requests failed, by model and version; all are gone through once."""
    failures: dict[tuple[str, str], int] = {}
    for family in metrics.requests.collect():
        for sample in family.samples:
            if sample.name == "sge_requests_total" and sample.labels["outcome"] != Outcome.OK:
                model = sample.labels["model"], sample.labels["version"]
                failures[model] = failures.get(model, 0) + int(sample.value)
    return failures
