"""What may be said of the steps: of the client, its agreement with the service, the knee."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from tests.load.sender import Answer
from tests.load.step import Step

TOLERANCE = 0.05
MEAN = "mean ms"  # the name of the one time that both sides know exactly
FEWEST = 20  # answers below which a quantile says nothing


class ClientTooSlow(Exception):
    """The client was the bottleneck, so its figures are not the service's; none is reported."""


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """What a client may do before its figures count for nothing.

    Attributes:
        lateness_ms: the 99th percentile of how late it sends.
        cores: of the one that its event loop has, how much it uses.
    """

    lateness_ms: float = 10.0
    cores: float = 0.8


def require_idle_client(step: Step, limits: ClientLimits) -> None:
    """Let nothing pass that the client bent.

    Raises:
        ClientTooSlow: it sent late, or its core had no room left.
    """
    faults = []
    if step.lateness.p99_ms > limits.lateness_ms:
        faults.append(
            f"it sent 1 % of the requests {step.lateness.p99_ms:.1f} ms late or later, "
            f"the limit is {limits.lateness_ms:g} ms"
        )
    if step.cores.client > limits.cores:
        faults.append(f"it used {step.cores.client:.2f} of a core, the limit is {limits.cores:g}")
    if faults:
        raise ClientTooSlow(
            f"the client was the bottleneck at {step.rate:.0f}/s ({step.arrivals}): "
            + "; ".join(faults)
        )


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure from both sides.

    Attributes:
        client: what the client measured.
        service_low: the least that the service's metrics allow; equal to `service_high` where
            they are exact.
        service_high: the most.
    """

    name: str
    client: float
    service_low: float
    service_high: float

    @property
    def difference(self) -> float:
        """How far the client is outside of what the service says, as a share; 0 within."""
        if self.client < self.service_low:
            return self.client / self.service_low - 1
        if self.client > self.service_high:
            return self.client / self.service_high - 1 if self.service_high else float("inf")
        return 0.0

    @property
    def agrees(self) -> bool:
        """Whether the two are within 5 % of each other."""
        return abs(self.difference) <= TOLERANCE


def compare(step: Step) -> list[Comparison]:
    """Set the client's figures beside the service's, of requests answered ok.

    Counts and means are exact on both sides. A quantile of the service is known only by the
    bucket it lies in, so the client's has to lie there too.
    """
    total = step.service.phases["total"]
    counted, mean_ms = step.service.outcomes.get("ok", 0.0), total.mean * 1000
    found = [
        Comparison("answers", step.answers[Answer.OK], counted, counted),
        Comparison(MEAN, step.service_time.mean_ms, mean_ms, mean_ms),
    ]
    if total.count < FEWEST:
        return found
    quantiles = {
        0.5: step.service_time.p50_ms,
        0.9: step.service_time.p90_ms,
        0.99: step.service_time.p99_ms,
    }
    for quantile, client_ms in quantiles.items():
        low_s, high_s = total.bracket(quantile)
        found.append(
            Comparison(f"p{quantile * 100:.0f} ms", client_ms, low_s * 1000, high_s * 1000)
        )
    return found


@dataclass(frozen=True, slots=True)
class Knee:
    """Where a service bends.

    Attributes:
        held: the highest rate up to which every rate was held; None: not even the lowest was.
        broken: the next rate above, which was not; None: every rate was held.
    """

    held: float | None
    broken: float | None

    def __str__(self) -> str:
        """A sentence's worth."""
        if self.held is None:
            return f"below {self.broken:.0f}/s, the lowest rate tried"
        if self.broken is None:
            return f"above {self.held:.0f}/s, the highest rate tried"
        return f"between {self.held:.0f} and {self.broken:.0f}/s"


def find_knee(steps: Sequence[Step], share: float) -> Knee:
    """Find the rate above which the service no longer keeps its deadline.

    Args:
        steps: of one kind of arrivals, in any order.
        share: of the requests due at a rate, how many have to be answered ok in time for the rate
            to count as held.
    """
    ascending = sorted(steps, key=lambda step: step.rate)
    held = [*itertools.takewhile(lambda step: step.share_in_time >= share, ascending)]
    above = ascending[len(held) :]
    return Knee(held[-1].rate if held else None, above[0].rate if above else None)
