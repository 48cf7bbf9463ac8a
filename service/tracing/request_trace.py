"""What travels with a request and its images: whose they are, and when each phase began."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

SpanPhase = Literal["body", "decode", "queue", "answer"]
"""What a request waits for, one after another. From the queue to the answer its batches run."""

MOST_IDS = 16  # of requests, in one line of the log


@dataclass(slots=True, eq=False)
class RequestTrace:
    """One request on its way through the service.

    Phases are noted only where somebody will look at them: in a trace that is sampled.

    Attributes:
        request_id: the client's own, or made here; empty where there is no request.
        trace_id: of its trace, 32 hexadecimal digits; empty where it belongs to none.
        span_id: of its span, 16 of them; empty where it has none.
        is_sampled: whether spans are made of it.
        phases: each with the moment of `time.monotonic` at which it began, in order; a phase ends
            where the next one begins, or with the request.
        tier: of the engine that answered.
    """

    request_id: str
    trace_id: str = ""
    span_id: str = ""
    is_sampled: bool = False
    phases: list[tuple[SpanPhase, float]] = field(default_factory=list)
    tier: str = ""

    def enter(self, phase: SpanPhase, moment: float) -> None:
        """Note that a phase begins, and with it that the one before has ended."""
        if self.is_sampled:
            self.phases.append((phase, moment))

    def enter_answer(self, moment: float, tier: str) -> None:
        """Note that an engine has answered for every image of the request."""
        if self.is_sampled:
            self.phases.append(("answer", moment))
            self.tier = tier

    @property
    def ids(self) -> dict[str, str]:
        """What every line of the log says of it."""
        named = (
            ("request_id", self.request_id),
            ("trace_id", self.trace_id),
            ("span_id", self.span_id),
        )
        return {name: value for name, value in named if value}

    @property
    def exemplar(self) -> dict[str, str] | None:
        """By what a measurement of it leads to its trace; None where there are no spans."""
        return {"trace_id": self.trace_id} if self.is_sampled else None


UNTRACED = RequestTrace("")
"""Of images that no request has brought; nothing is ever noted on it."""


def ids_of(traces: Iterable[RequestTrace]) -> dict[str, Any]:
    """What a line of the log says of the requests that it is about: their ids, up to 16 of them."""
    ids = list(dict.fromkeys(trace.request_id for trace in traces if trace.request_id))
    shown: dict[str, Any] = {"request_ids": ids[:MOST_IDS]} if ids else {}
    return shown | ({"more_requests": len(ids) - MOST_IDS} if len(ids) > MOST_IDS else {})
