"""Whether spans are made, as OpenTelemetry's variables say; in a process of its own each time."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

FIND = """
import sys
from service.errors import BadSetting
from service.tracing.start import find_tracer
if "without" in sys.argv:
    sys.modules["opentelemetry.sdk"] = None
try:
    print(type(find_tracer()).__name__)
except BadSetting as error:
    print(error)
print(*sorted(name for name in sys.modules if name in ("grpc", "requests", "torch")))
"""
DESCRIBE = """
from service.tracing.exporting import describe_service
found = describe_service().attributes
print(found["service.name"], found.get("zone"))
"""
READ = """
import logging, sys
from service.config import find_trace_settings
from service.logs import configure_logs
from service.tracing.exporting import find_propagator
configure_logs("debug", "json")
headers = {
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "tracestate": "no state",
    "baggage": "secret=1,wrong",
}
print(*find_propagator(find_trace_settings()).extract(headers))
"""
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
ON, OFF = "OpenTelemetryTracer", "NullTracer"


def output_of(program: str, *arguments: str, **variables: str) -> list[str]:
    """What a program prints, with no variable of OpenTelemetry but these."""
    return ended(program, *arguments, **variables).stdout.splitlines()


def ended(program: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A program that has run, with no variable of OpenTelemetry but these."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith("OTEL_")}
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=environment | variables,
        capture_output=True,
        text=True,
        check=True,
    )


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({}, [OFF, ""]),
        ({"OTEL_TRACES_EXPORTER": "none", **ENDPOINT}, [OFF, ""]),
        ({"OTEL_SDK_DISABLED": "true", **ENDPOINT}, [OFF, ""]),
        ({"OTEL_SERVICE_NAME": "mine"}, [OFF, ""]),
        (ENDPOINT, [ON, "requests"]),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9"}, [ON, "requests"]),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, [ON, "requests"]),
        ({"OTEL_TRACES_EXPORTER": "console"}, [ON, ""]),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, [ON, "grpc"]),
    ],
)
def test_spans_are_made_where_somebody_is_to_get_them(
    variables: dict[str, str], found: list[str]
) -> None:
    """A service that makes none imports nothing for it."""
    assert output_of(FIND, **variables) == found


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER=zipkin is none of console, "),
        (
            {**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
            "OTEL_EXPORTER_OTLP_PROTOCOL=http/json is none of http/protobuf, grpc",
        ),
        ({**ENDPOINT, "OTEL_PROPAGATORS": "b4"}, "OTEL_PROPAGATORS: Propagator b4 not found"),
        ({**ENDPOINT, "OTEL_BSP_MAX_QUEUE_SIZE": "0"}, "the variables of OpenTelemetry (OTEL_*): "),
        (
            {**ENDPOINT, "OTEL_SPAN_LINK_COUNT_LIMIT": "abc"},
            "the variables of OpenTelemetry (OTEL_*): OTEL_SPAN_LINK_COUNT_LIMIT must be ",
        ),
    ],
)
def test_what_opentelemetry_does_not_know_is_one_clear_line(
    variables: dict[str, str], reason: str
) -> None:
    """And names the variable."""
    assert output_of(FIND, **variables)[0].startswith(reason)


def test_a_service_without_the_extra_says_what_to_install() -> None:
    """Where spans are asked for; otherwise it is not missed."""
    asked, *_ = output_of(FIND, "without", **ENDPOINT)
    unasked, *_ = output_of(FIND, "without")

    assert "pip install 'sge-serve[otel]'" in asked
    assert unasked == OFF


@pytest.mark.parametrize(
    ("variables", "name", "zone"),
    [
        ({}, "sge-serve", "None"),
        ({"OTEL_SERVICE_NAME": "mine"}, "mine", "None"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=theirs,zone=a"}, "theirs", "a"),
    ],
)
def test_spans_say_which_service_they_are_of(
    variables: dict[str, str], name: str, zone: str
) -> None:
    """By the variables, or else by our own name."""
    assert output_of(DESCRIBE, **variables) == [f"{name} {zone}"]


@pytest.mark.parametrize(
    ("variables", "keys"),
    [
        ({}, 1),
        ({"OTEL_PROPAGATORS": "tracecontext"}, 1),
        ({"OTEL_PROPAGATORS": "tracecontext,baggage"}, 2),
    ],
)
def test_what_is_wrong_with_a_clients_headers_is_not_cited_in_the_log(
    variables: dict[str, str], keys: int
) -> None:
    """Of a request the header of its trace is read, `baggage` only where that is asked for."""
    found = ended(READ, **ENDPOINT, **variables)

    assert found.stderr == ""
    assert len(found.stdout.split()) == keys
