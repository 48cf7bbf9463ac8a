"""Where an answer's time went: in the metrics, in its body and in its headers."""

from __future__ import annotations

import time
from collections.abc import Mapping

from service.api.admitted_request import AdmittedRequest
from service.metrics import Metrics, Phase


def report_phases(
    metrics: Metrics, admitted: AdmittedRequest, phases_s: Mapping[Phase, float]
) -> dict[str, float]:
    """Count where an answer's time went; returns its phases in ms, with the total so far."""
    exemplar = admitted.context.trace.exemplar
    for phase, seconds in phases_s.items():
        metrics.phase.labels(*admitted.model.metric_labels, phase).observe(seconds, exemplar)
    total_s = time.monotonic() - admitted.context.began
    return {
        phase: round(seconds * 1000, 3) for phase, seconds in {**phases_s, "total": total_s}.items()
    }


def server_timing(timing_ms: Mapping[str, float]) -> str:
    """The value of the `Server-Timing` header."""
    return ", ".join(f"{phase};dur={ms}" for phase, ms in timing_ms.items())
