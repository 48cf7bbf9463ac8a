"""What the environment says of traces: OpenTelemetry's own variables, which everybody knows.

Read here is whether spans are made and who sends them. All else OpenTelemetry reads itself.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

PROTOCOLS = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


@dataclass(frozen=True, slots=True)
class TraceSettings:
    """Who sends spans.

    Attributes:
        exporters: by the names that OpenTelemetry's packages give them.
    """

    exporters: tuple[str, ...]


def find_trace_settings() -> TraceSettings | None:
    """Read whether spans are made: an exporter or an endpoint is named; None where they are not.

    Raises:
        ValueError: a protocol that there is not.
    """
    if _read("OTEL_SDK_DISABLED").lower() == "true":
        return None
    named = _read("OTEL_TRACES_EXPORTER") or ("otlp" if any(map(_read, ENDPOINTS)) else "none")
    exporters = [name.strip() for name in named.split(",") if name.strip()]
    if not exporters or [name.lower() for name in exporters] == ["none"]:
        return None
    return TraceSettings(tuple(_otlp() if name == "otlp" else name for name in exporters))


def _otlp() -> str:
    variables = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    variable = next((name for name in variables if _read(name)), variables[0])
    protocol = _read(variable) or "http/protobuf"
    if protocol not in PROTOCOLS:
        raise ValueError(f"{variable}={protocol} is none of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[protocol]


def _read(variable: str) -> str:
    return os.environ.get(variable, "").strip()
