"""One rate of a sweep: what the client saw, what the service says, what both cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]  # it has no types

from tests.load.arrivals import ArrivalKind
from tests.load.sender import Answer, Shot
from tests.load.service_view import ServiceView

LONGEST_US = 3_600_000_000  # an hour
DIGITS = 3  # significant decimal digits that the histogram keeps
WAITED = (Answer.OK, Answer.TIMED_OUT)  # whose waits are latencies; a refusal comes at once


@dataclass(frozen=True, slots=True)
class Latencies:
    """A distribution of times in milliseconds.

    Attributes:
        hdr: the whole histogram in microseconds, in HdrHistogram's own encoding (base64).
    """

    count: int
    mean_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    hdr: str

    @classmethod
    def of(cls, times_s: Iterable[float]) -> Self:
        """Sum up times in seconds; all figures are 0 where there are none."""
        histogram = HdrHistogram(1, LONGEST_US, DIGITS)
        total_s = 0.0
        for time_s in times_s:
            total_s += time_s
            histogram.record_value(min(max(1, round(time_s * 1e6)), LONGEST_US))
        count = histogram.get_total_count()
        at_us = histogram.get_percentile_to_value_dict([50, 90, 99])
        return cls(
            count=count,
            mean_ms=total_s / count * 1000 if count else 0.0,
            p50_ms=at_us.get(50, 0) / 1000,
            p90_ms=at_us.get(90, 0) / 1000,
            p99_ms=at_us.get(99, 0) / 1000,
            max_ms=histogram.get_max_value() / 1000 if count else 0.0,
            hdr=histogram.encode().decode(),
        )


@dataclass(frozen=True, slots=True)
class Cores:
    """Processor time a second: 1.0 is one core in full use; `server` is None where unseen."""

    client: float
    server: float | None

    @classmethod
    def of(cls, client_s: float, server_s: float | None, elapsed_s: float) -> Self:
        """Spread processor seconds over a stretch of time."""
        return cls(client_s / elapsed_s, None if server_s is None else server_s / elapsed_s)


@dataclass(frozen=True, slots=True)
class Step:
    """One rate, measured. Requests hold one image each, so they are images too.

    Attributes:
        arrivals: how they were spread.
        rate: requests a second that were due.
        duration_s: over which they were due.
        elapsed_s: until the last answer.
        answers: requests by what became of them.
        in_time: answered ok within the deadline, counted from the moment each was due.
        latency: from the moment each was due; of answers, and of those given up as long as they
            were waited for.
        service_time: from sending on, of answers ok: what the service's own times compare with.
        lateness: how long after its moment each was sent, but for opening a connection.
        connecting: how long that took, of those that opened one.
        cores: used meanwhile.
        service: its own view of the same time.
    """

    arrivals: ArrivalKind
    rate: float
    duration_s: float
    elapsed_s: float
    answers: dict[Answer, int]
    in_time: int
    latency: Latencies
    service_time: Latencies
    lateness: Latencies
    connecting: Latencies
    cores: Cores
    service: ServiceView

    @property
    def sent(self) -> int:
        """Requests in all."""
        return sum(self.answers.values())

    @property
    def answered_rate(self) -> float:
        """Answers ok a second, until the last of them."""
        return self.answers[Answer.OK] / self.elapsed_s

    @property
    def goodput(self) -> float:
        """Answers ok within the deadline, a second of those in which requests were due."""
        return self.in_time / self.duration_s

    @property
    def share_in_time(self) -> float:
        """Of all that were due, those answered ok within the deadline."""
        return self.in_time / self.sent

    @property
    def images_per_core(self) -> float | None:
        """Images that a fully used core of the server answers in a second."""
        return self.answered_rate / self.cores.server if self.cores.server else None


def sum_up(
    shots: Sequence[Shot],
    arrivals: ArrivalKind,
    duration_s: float,
    deadline_s: float,
    *,
    cores: Cores,
    service: ServiceView,
) -> Step:
    """Sum up a run at one rate."""
    ok = [shot for shot in shots if shot.answer is Answer.OK]
    answers = Counter(shot.answer for shot in shots)
    return Step(
        arrivals=arrivals,
        rate=len(shots) / duration_s,
        duration_s=duration_s,
        elapsed_s=max(duration_s, *(shot.ended_s for shot in shots)),
        answers={answer: answers[answer] for answer in Answer},
        in_time=sum(shot.latency_s <= deadline_s for shot in ok),
        latency=Latencies.of(shot.latency_s for shot in shots if shot.answer in WAITED),
        service_time=Latencies.of(shot.service_s for shot in ok),
        lateness=Latencies.of(shot.lateness_s for shot in shots),
        connecting=Latencies.of(shot.connecting_s for shot in shots if shot.connecting_s),
        cores=cores,
        service=service,
    )
