"""What is kept of a request that has left: its outcome in the metrics, a line in the access log."""

from __future__ import annotations

import time

import structlog

from service.api.context import Outcome, RequestContext
from service.api.errors import ADMISSION_CODES
from service.metrics import Metrics

LONGEST_PATH = 200  # characters of a path in a line of the access log

log = structlog.stdlib.get_logger("access")


def count_prediction(metrics: Metrics, context: RequestContext) -> None:
    """Count how a prediction request ended, and what it was answered."""
    outcome = context.outcome
    metrics.requests.labels(*context.model, outcome).inc()
    if outcome in ADMISSION_CODES:
        metrics.rejected.labels(outcome).inc()
    elapsed_s = time.monotonic() - context.began
    if outcome == Outcome.OK:
        total = metrics.phase.labels(*context.model, "total")
        total.observe(elapsed_s, context.trace.exemplar)
        metrics.images.labels(*context.model).inc(context.images)


def write_access_line(context: RequestContext, method: str, path: str, client: str) -> None:
    """Write the line of a request.

    Args:
        context: of the request.
        method: of HTTP, or the other protocol's name.
        path: that it asked for.
        client: its address.
    """
    log.info(
        "request",
        method=method,
        path=shortened(path),
        status=context.status,
        outcome=str(context.outcome),
        model="/".join(context.model),
        images=context.images,
        key=context.key,
        duration_ms=round((time.monotonic() - context.began) * 1000, 2),
        client=client,
    )


def shortened(path: str) -> str:
    """A path as the access log shows it."""
    return path if len(path) <= LONGEST_PATH else f"{path[:LONGEST_PATH]} ..."
