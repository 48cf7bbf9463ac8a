"""Metrics as they are read: Prometheus' text format, or OpenMetrics where that is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition

OPEN_METRICS, PLAIN = "application/openmetrics-text", "text/plain"
OPEN_METRICS_VERSION = "1.0.0"  # what is asked for without a version, too


def write_metrics(registry: CollectorRegistry, accept: Iterable[str]) -> tuple[bytes, str]:
    """Write every metric.

    Args:
        registry: of the metrics.
        accept: the values of a request's `Accept`; anything but a preference for OpenMetrics 1.0.0
            gets the text format.

    Returns:
        The text and its media type.
    """
    if prefers_open_metrics(accept):
        write = exposition.generate_latest
        return write(registry), exposition.CONTENT_TYPE_LATEST  # type: ignore[no-untyped-call]
    return generate_latest(registry), CONTENT_TYPE_LATEST


def prefers_open_metrics(accept: Iterable[str]) -> bool:
    """Whether a client wants OpenMetrics, and the text format less."""
    wishes = list(_wishes_in(accept))
    of_open_metrics = max((weight for kind, weight in wishes if kind == OPEN_METRICS), default=0.0)
    of_plain = max((weight for kind, weight in wishes if kind == PLAIN), default=0.0)
    return of_open_metrics > 0 and of_open_metrics >= of_plain


def _wishes_in(accept: Iterable[str]) -> Iterator[tuple[str, float]]:
    for wish in ",".join(accept).split(","):
        kind, *parameters = (part.strip().lower() for part in wish.split(";"))
        said = dict(parameter.partition("=")[::2] for parameter in parameters)
        version = said.get("version", OPEN_METRICS_VERSION)
        if kind != OPEN_METRICS or version == OPEN_METRICS_VERSION:
            yield kind, _weight_of(said.get("q", "1"))


def _weight_of(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
