"""Who makes spans of what was measured; one makes none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from service.tracing.request_trace import RequestTrace
from service.tracing.traceparent import trace_id_in

Attributes = Mapping[str, str | int | float]
Carrier = Callable[[str], Sequence[str]]
"""The values that a request brings under a header's name, which is in small letters."""


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A request as it comes in.

    Attributes:
        request_id: by which the log knows it.
        name: of its span, as long as no route is found.
        began: the moment of its head, of `time.monotonic`.
        carrier: its headers, which may name a trace to go on with.
        attributes: what a sampler may decide by.
    """

    request_id: str
    name: str
    began: float
    carrier: Carrier
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RequestEnd:
    """A request whose answer has left.

    Attributes:
        name: of its span: a method and a route, never a path.
        attributes: what became of it, beside what its head was told to be.
        fault: what went wrong where that was the service's fault; empty otherwise.
    """

    name: str
    attributes: Attributes
    fault: str = ""


@dataclass(frozen=True, slots=True)
class BatchRun:
    """A batch that an engine ran.

    Attributes:
        model: its name and version.
        engine: that ran it.
        size: images in the batch.
        started: a moment of `time.monotonic`.
        ended: the same.
        fault: the code of the error by which it failed; empty where it did not.
    """

    model: tuple[str, str]
    engine: str
    size: int
    started: float
    ended: float
    fault: str = ""


class Tracer(Protocol):
    """Makes spans; lives on the event loop, but for `stop`. None of it waits for anybody."""

    is_on: bool
    """Whether it makes any."""

    def begin(self, head: RequestHead) -> RequestTrace:
        """Decide whether spans are made of a request; its client may have decided that."""

    def end(self, trace: RequestTrace, end: RequestEnd) -> None:
        """Make the span of a request that was begun, and of each of its phases."""

    def on_batch(self, run: BatchRun, traces: Sequence[RequestTrace]) -> None:
        """Make the span of a batch that served sampled requests.

        Args:
            run: what ran.
            traces: one for each image of the batch.
        """

    def stop(self, within_s: float) -> None:
        """Send what was not sent yet, and make no more; blocks for so long at most."""


class NullTracer:
    """Makes none; a client's trace is known to the log alone."""

    is_on = False

    def begin(self, head: RequestHead) -> RequestTrace:
        """Note whose the request is."""
        return RequestTrace(head.request_id, trace_id_in(head.carrier("traceparent")))

    def end(self, trace: RequestTrace, end: RequestEnd) -> None:
        """Nothing is made."""

    def on_batch(self, run: BatchRun, traces: Sequence[RequestTrace]) -> None:
        """Nothing is made."""

    def stop(self, within_s: float) -> None:
        """Nothing is held."""
