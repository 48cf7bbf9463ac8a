"""Spans of OpenTelemetry, made of what was measured once the answer has left."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

from opentelemetry import trace as api
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter, TextMapPropagator
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, SynchronousMultiSpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from service import __version__
from service.tracing.request_trace import RequestTrace
from service.tracing.traceparent import HEADER
from service.tracing.tracer import Attributes, BatchRun, Carrier, RequestEnd, RequestHead

NS_PER_S = 1_000_000_000
SCOPE = "service"


@dataclass(slots=True)
class _Ride:
    """A batch in which a request had images.

    Attributes:
        run: the batch.
        images: of the request in it.
        span: of the batch.
    """

    run: BatchRun
    images: int
    span: api.SpanContext


@dataclass(slots=True, eq=False)
class _OpenRequest(RequestTrace):
    """A request whose span has begun.

    Attributes:
        span: its own.
        offset_ns: from the clock of the moments to the time since 1970: one for a request, so that
            its spans fit into each other, whatever sets the time meanwhile.
        rides: the batches that served it, in order.
    """

    span: api.Span = api.INVALID_SPAN
    offset_ns: int = 0
    rides: list[_Ride] = field(default_factory=list)

    def at(self, moment: float) -> int:
        """A moment of `time.monotonic` in nanoseconds since 1970."""
        return int(moment * NS_PER_S) + self.offset_ns


class OpenTelemetryTracer:
    """Makes spans by OpenTelemetry's SDK; it decides on the loop and sends on threads of its own.

    Each sampled request gets a span, and below it one for each phase and for each batch that served
    it. A batch, which serves several, has a trace of its own, linked to theirs and theirs to it; it
    is made wherever one of its requests is sampled.

    Args:
        processors: what becomes of finished spans.
        resource: what the spans say of this service.
        propagator: reads how a client's trace is named.
    """

    is_on = True

    def __init__(
        self,
        processors: Sequence[SpanProcessor],
        resource: Resource,
        propagator: TextMapPropagator,
    ) -> None:
        self._processor = SynchronousMultiSpanProcessor()  # type: ignore[no-untyped-call]
        for processor in processors:
            self._processor.add_span_processor(processor)
        self._propagator = propagator
        self._getter = _Getter()
        of_requests = TracerProvider(
            resource=resource, active_span_processor=self._processor, shutdown_on_exit=False
        )
        of_batches = TracerProvider(
            ALWAYS_ON, resource, active_span_processor=self._processor, shutdown_on_exit=False
        )
        self._requests = of_requests.get_tracer(SCOPE, __version__)
        self._batches = of_batches.get_tracer(SCOPE, __version__)

    def begin(self, head: RequestHead) -> RequestTrace:
        """Begin a request's span, below the client's where its head names that."""
        offset_ns = _offset_ns()
        span = self._requests.start_span(
            head.name,
            self._propagator.extract(head.carrier, Context(), self._getter),
            api.SpanKind.SERVER,
            head.attributes,
            start_time=int(head.began * NS_PER_S) + offset_ns,
        )
        context = span.get_span_context()
        return _OpenRequest(
            head.request_id,
            api.format_trace_id(context.trace_id),
            api.format_span_id(context.span_id),
            is_sampled=context.trace_flags.sampled and span.is_recording(),
            span=span,
            offset_ns=offset_ns,
        )

    def end(self, trace: RequestTrace, end: RequestEnd) -> None:
        """End a request's span, and make those of its phases and batches."""
        request, ended = cast("_OpenRequest", trace), time.monotonic()
        span = request.span
        span.update_name(end.name)
        span.set_attributes({**end.attributes, **_engine_of(request)})
        if end.fault:
            span.set_attribute("error.type", end.fault)
            span.set_status(api.StatusCode.ERROR)
        below = api.set_span_in_context(span, Context())
        for name, began, left in _phases_of(request, ended):
            phase = self._requests.start_span(name, below, start_time=request.at(began))
            phase.end(request.at(left))
        for ride in request.rides:
            self._end_ride(request, ride, below)
        span.end(request.at(ended))

    def _end_ride(self, request: _OpenRequest, ride: _Ride, below: Context) -> None:
        batch = self._requests.start_span(
            "batch",
            below,
            attributes={**_attributes_of(ride.run), "sge.images": ride.images},
            links=[api.Link(ride.span)],
            start_time=request.at(ride.run.started),
        )
        _end_run(batch, ride.run, request.at(ride.run.ended))

    def on_batch(self, run: BatchRun, traces: Sequence[RequestTrace]) -> None:
        """Make the span of a batch, which has ended, linked to every sampled request in it."""
        offset_ns = _offset_ns()
        images = Counter(cast("_OpenRequest", trace) for trace in traces if trace.is_sampled)
        span = self._batches.start_span(
            "batch run",
            Context(),
            attributes=_attributes_of(run),
            links=[
                api.Link(request.span.get_span_context(), {"sge.images": count})
                for request, count in images.items()
            ],
            start_time=int(run.started * NS_PER_S) + offset_ns,
        )
        _end_run(span, run, int(run.ended * NS_PER_S) + offset_ns)
        for request, count in images.items():
            request.rides.append(_Ride(run, count, span.get_span_context()))

    def stop(self, within_s: float) -> None:
        """Send what was not sent yet; what cannot be sent in time is lost."""
        sending = threading.Thread(target=self._processor.shutdown, name="last spans", daemon=True)
        sending.start()
        sending.join(within_s)


class _Getter(Getter[Carrier]):
    """Reads a request's head for OpenTelemetry; a head that names two traces names none."""

    def get(self, carrier: Carrier, key: str) -> list[str] | None:
        values = list(carrier(key))
        return None if not values or (key == HEADER and len(values) > 1) else values

    def keys(self, carrier: Carrier) -> list[str]:  # noqa: ARG002
        return []  # no propagator of those that read trace ids asks for them


def _offset_ns() -> int:
    return time.time_ns() - time.monotonic_ns()


def _phases_of(request: _OpenRequest, ended: float) -> Iterator[tuple[str, float, float]]:
    """Each phase with its first and last moment; the queue is left for the first batch."""
    moments = [*(moment for _, moment in request.phases), ended]
    for (name, began), left in zip(request.phases, moments[1:], strict=True):
        leaves_for = request.rides[0].run.started if name == "queue" and request.rides else left
        yield name, began, max(began, min(left, leaves_for))


def _engine_of(request: _OpenRequest) -> dict[str, str | int]:
    """What served a request: the engine of its last batch, the size of its largest one."""
    if not request.rides:
        return {}
    told: dict[str, str | int] = {
        "sge.engine": request.rides[-1].run.engine,
        "sge.batch_size": max(ride.run.size for ride in request.rides),
    }
    return told | ({"sge.tier": request.tier} if request.tier else {})


def _attributes_of(run: BatchRun) -> Attributes:
    name, version = run.model
    return {
        "sge.model": name,
        "sge.model.version": version,
        "sge.engine": run.engine,
        "sge.batch_size": run.size,
    }


def _end_run(span: api.Span, run: BatchRun, ended_ns: int) -> None:
    if run.fault:
        span.set_attribute("error.type", run.fault)
        span.set_status(api.StatusCode.ERROR)
    span.end(ended_ns)
