"""A tracer whose spans stay in this process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from opentelemetry.propagate import get_global_textmap
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, SpanKind

from service.tracing.otel import OpenTelemetryTracer


def context_of(span: ReadableSpan) -> SpanContext:
    """The ids of a span."""
    assert isinstance(span.context, SpanContext)
    return span.context


def times_of(span: ReadableSpan) -> tuple[int, int]:
    """When a span began and ended, in nanoseconds since 1970."""
    assert span.start_time is not None
    assert span.end_time is not None
    return span.start_time, span.end_time


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a tracer has made.

    Attributes:
        tracer: makes it.
    """

    exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)
    tracer: OpenTelemetryTracer = field(init=False)

    def __post_init__(self) -> None:
        processors = [SimpleSpanProcessor(self.exporter)]
        tracer = OpenTelemetryTracer(processors, Resource.create(), get_global_textmap())
        object.__setattr__(self, "tracer", tracer)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """Every span, in the order in which they ended."""
        return self.exporter.get_finished_spans()

    def requests(self) -> list[ReadableSpan]:
        """The spans of requests, oldest first."""
        found = [span for span in self.spans if span.kind == SpanKind.SERVER]
        return sorted(found, key=times_of)

    def batches(self) -> list[ReadableSpan]:
        """The spans of batches, oldest first."""
        return sorted((s for s in self.spans if s.name == "batch run"), key=times_of)

    def below(self, parent: ReadableSpan) -> list[ReadableSpan]:
        """The spans directly below another, by when they began, and ended."""
        ids = context_of(parent)
        children = (
            span
            for span in self.spans
            if span.parent
            and (span.parent.trace_id, span.parent.span_id) == (ids.trace_id, ids.span_id)
        )
        return sorted(children, key=times_of)

    def tree(self) -> Iterator[tuple[str, list[str]]]:
        """The name of each request's span, with those below."""
        for request in self.requests():
            yield request.name, [span.name for span in self.below(request)]
