"""What the environment says of traces: OpenTelemetry's own variables, which everybody knows.

Read here is whether spans are made, who sends them and what reads a client's headers. All else
OpenTelemetry reads itself; values for which it would only warn, and take others, are refused here.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

PROTOCOLS = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
TIMEOUTS = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")
COMPRESSIONS = ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION")
COMPRESSED_BY = {"http/protobuf": ("none", "gzip", "deflate"), "grpc": ("gzip",)}
BATCHES = (
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_BSP_EXPORT_TIMEOUT",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
)
BY_RATIO = ("traceidratio", "parentbased_traceidratio")
SAMPLERS = (
    *("always_on", "always_off", "parentbased_always_on", "parentbased_always_off"),
    *BY_RATIO,
)


@dataclass(frozen=True, slots=True)
class TraceSettings:
    """Who sends spans.

    Attributes:
        exporters: by the names that OpenTelemetry's packages give them.
        names_propagators: whether it is said which headers are read; else `traceparent` is, with
            `tracestate`.
    """

    exporters: tuple[str, ...]
    names_propagators: bool = False


def find_trace_settings() -> TraceSettings | None:
    """Read whether spans are made: an exporter or an endpoint is named; None where they are not.

    Raises:
        ValueError: a variable names what there is not, or has no number where it needs one.
    """
    if _read("OTEL_SDK_DISABLED").lower() == "true":
        return None
    named = _read("OTEL_TRACES_EXPORTER") or ("otlp" if any(map(_read, ENDPOINTS)) else "none")
    exporters = [name.strip() for name in named.split(",") if name.strip()]
    if not exporters or [name.lower() for name in exporters] == ["none"]:
        return None
    _require_sampler()
    _require_whole_numbers()
    return TraceSettings(
        tuple(_otlp() if name == "otlp" else name for name in exporters),
        bool(_read("OTEL_PROPAGATORS")),
    )


def _otlp() -> str:
    variables = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    variable = next((name for name in variables if _read(name)), variables[0])
    protocol = _read(variable) or "http/protobuf"
    if protocol not in PROTOCOLS:
        raise ValueError(f"{variable}={protocol} is none of {', '.join(PROTOCOLS)}")
    if protocol == "http/protobuf":
        _require_addresses()  # gRPC takes names of other forms
    for variable in COMPRESSIONS:
        _require_one_of(COMPRESSED_BY[protocol], variable)
    for variable in TIMEOUTS:
        if _read(variable) and not 0 < _number(variable) < math.inf:
            raise ValueError(f"{variable}={_read(variable)} is no number above 0")
    return PROTOCOLS[protocol]


def _require_sampler() -> None:
    sampler = _require_one_of(SAMPLERS, "OTEL_TRACES_SAMPLER")
    argument = "OTEL_TRACES_SAMPLER_ARG"
    if sampler in BY_RATIO and _read(argument) and not 0 <= _number(argument) <= 1:
        raise ValueError(f"{argument}={_read(argument)} is no number from 0 to 1")


def _require_whole_numbers() -> None:
    for variable in BATCHES:
        value = _read(variable)
        if value and not value.removeprefix("-").isdecimal():
            raise ValueError(f"{variable}={value} is no whole number")


def _require_addresses() -> None:
    for variable in ENDPOINTS:
        value = _read(variable)
        if value and not _is_address(value):
            raise ValueError(f"{variable}={value} is no address as http://collector:4318 is one")


def _is_address(value: str) -> bool:
    try:
        address = urlsplit(value)
        return address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
    except ValueError:  # of a port that is none
        return False


def _require_one_of(known: Collection[str], variable: str) -> str:
    """A variable's value in small letters; empty where it has none."""
    value = _read(variable)
    if value and value.lower() not in known:
        raise ValueError(f"{variable}={value} is none of {', '.join(known)}")
    return value.lower()


def _number(variable: str) -> float:
    """The number that a variable has; one that is in no range where it has none."""
    try:
        return float(_read(variable))
    except ValueError:
        return math.nan


def _read(variable: str) -> str:
    return os.environ.get(variable, "").strip()
