"""Whether spans are made, by the environment, and by what."""

from __future__ import annotations

from service.config import find_trace_settings
from service.errors import BadSetting
from service.tracing.tracer import NullTracer, Tracer

MISSING = "the environment asks for traces (OTEL_*), which need: pip install 'sge-serve[otel]'"


def find_tracer() -> Tracer:
    """Make what makes spans, as OpenTelemetry's variables say; nothing of it is imported otherwise.

    Raises:
        BadSetting: spans are to be made and cannot: the extra is not installed, or a variable says
            what OpenTelemetry does not know.
    """
    try:
        settings = find_trace_settings()
    except ValueError as error:
        raise BadSetting(str(error)) from error
    if settings is None:
        return NullTracer()
    try:
        from service.tracing.exporting import build_tracer  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise BadSetting(MISSING) from error
    except ValueError as error:  # of OTEL_PROPAGATORS, which is read when it is imported
        raise BadSetting(f"OTEL_PROPAGATORS: {error}") from error
    return build_tracer(settings)
