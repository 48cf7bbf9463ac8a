"""What the service says of a stretch of time: the difference of two readings of its metrics."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

from service.metrics import PHASES

Samples = Mapping[tuple[str, str], float]
"""By sample name and the one label that matters here: phase, outcome, or empty; models summed."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """A Prometheus histogram over a stretch of time.

    Attributes:
        total: sum of what was observed.
        count: how often something was.
        bounds: upper bounds of the buckets, ascending, the last one infinite.
        cumulative: per bound, how many observations were at most that.
    """

    total: float
    count: float
    bounds: tuple[float, ...]
    cumulative: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The exact mean; 0 of nothing."""
        return self.total / self.count if self.count else 0.0

    def bracket(self, quantile: float) -> tuple[float, float]:
        """The bucket (above, up to) in which a quantile lies: all that a histogram knows of it."""
        place = bisect.bisect_left(self.cumulative, quantile * self.count)
        return (self.bounds[place - 1] if place else 0.0), self.bounds[place]


@dataclass(frozen=True, slots=True)
class ServiceView:
    """What the service counted and timed.

    Attributes:
        outcomes: requests by outcome, `ok` or the code of an error.
        phases: times in seconds by phase, of requests answered ok.
        batch_size: images in a batch.
        batch_s: engine seconds of a batch.
        processor_s: processor time of its process; None where its system does not tell.
    """

    outcomes: dict[str, float]
    phases: dict[str, Distribution]
    batch_size: Distribution
    batch_s: Distribution
    processor_s: float | None

    @classmethod
    def between(cls, before: str, after: str) -> Self:
        """Read two texts of `/metrics`, the later one second."""
        buckets, samples = _differences(before, after)
        outcomes = {
            outcome: value
            for (name, outcome), value in samples.items()
            if name == "sge_requests_total" and value
        }

        def distribution(name: str, label: str = "") -> Distribution:
            cumulative = buckets.get((name, label), {float("inf"): 0.0})
            bounds = tuple(sorted(cumulative))
            return Distribution(
                samples.get((f"{name}_sum", label), 0.0),
                samples.get((f"{name}_count", label), 0.0),
                bounds,
                tuple(cumulative[bound] for bound in bounds),
            )

        return cls(
            outcomes,
            {phase: distribution("sge_phase_seconds", phase) for phase in PHASES},
            distribution("sge_batch_size"),
            distribution("sge_batch_seconds"),
            samples.get(("process_cpu_seconds_total", "")),
        )


def _differences(
    before: str, after: str
) -> tuple[dict[tuple[str, str], dict[float, float]], Samples]:
    """Later minus earlier: of buckets by bound, and of every other sample."""
    samples: Counter[tuple[str, str]] = Counter()
    buckets: dict[tuple[str, str], Counter[float]] = {}
    for sign, text in ((-1, before), (1, after)):
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                label = sample.labels.get("phase", sample.labels.get("outcome", ""))
                if "le" in sample.labels:
                    bound = float(sample.labels["le"])
                    counts = buckets.setdefault((family.name, label), Counter())
                    counts[bound] += sign * sample.value  # type: ignore[assignment]
                else:
                    samples[sample.name, label] += sign * sample.value  # type: ignore[assignment]
    return {key: dict(counts) for key, counts in buckets.items()}, samples
