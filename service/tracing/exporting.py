"""OpenTelemetry's SDK as its variables set it up: who sends spans, and what they say of us."""

from __future__ import annotations

from importlib.metadata import entry_points

from opentelemetry.propagate import get_global_textmap
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service import __version__
from service.config import TraceSettings
from service.errors import BadSetting
from service.tracing.otel import OpenTelemetryTracer

EXPORTERS = "opentelemetry_traces_exporter"  # the group in which packages name theirs
UNKNOWN = "unknown_service"  # what OpenTelemetry calls a service that nobody has named


def build_tracer(settings: TraceSettings) -> OpenTelemetryTracer:
    """Make a tracer that sends; its threads run from now on.

    Args:
        settings: who sends, and whether it is said how a client's trace is named.

    Raises:
        BadSetting: there is no such exporter, or a variable of it makes no sense.
    """
    try:
        processors = [BatchSpanProcessor(_make(name)) for name in settings.exporters]
        return OpenTelemetryTracer(processors, describe_service(), find_propagator(settings))
    except ValueError as error:
        raise BadSetting(f"the variables of OpenTelemetry (OTEL_*): {error}") from error


def find_propagator(settings: TraceSettings) -> TextMapPropagator:
    """What reads the headers of a request: those of OTEL_PROPAGATORS, or Trace Context alone.

    OpenTelemetry would read `baggage`, too, of which no span says anything.
    """
    if settings.names_propagators:
        return get_global_textmap()
    return TraceContextTextMapPropagator()


def describe_service() -> Resource:
    """What spans say of the service: what OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say."""
    said = Resource.create()
    own = {SERVICE_VERSION: __version__, SERVICE_NAME: "sge-serve"}
    if not str(said.attributes[SERVICE_NAME]).startswith(UNKNOWN):
        own.pop(SERVICE_NAME)
    if SERVICE_VERSION in said.attributes:
        own.pop(SERVICE_VERSION)
    return said.merge(Resource(own))


def _make(name: str) -> SpanExporter:
    found = next(iter(entry_points(group=EXPORTERS, name=name)), None)
    if found is None:
        known = ", ".join(sorted({"otlp", *(each.name for each in entry_points(group=EXPORTERS))}))
        raise BadSetting(f"OTEL_TRACES_EXPORTER={name} is none of {known}")
    try:
        exporter: SpanExporter = found.load()()
    except ImportError as error:
        raise BadSetting(f"OTEL_TRACES_EXPORTER={name} cannot be used: {error}") from error
    return exporter
