"""OpenTelemetry's variables: values that make no sense are told before anything starts."""

from __future__ import annotations

import pytest

from service.config import TraceSettings, find_trace_settings

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
HTTP, GRPC = TraceSettings(("otlp_proto_http",)), TraceSettings(("otlp_proto_grpc",))


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Sets variables; of OpenTelemetry's there is an endpoint alone."""
    for name in TOLD:
        monkeypatch.delenv(name.partition("=")[0], raising=False)
    monkeypatch.delenv("OTEL_PROPAGATORS", raising=False)
    monkeypatch.delenv("OTEL_TRACES_EXPORTER", raising=False)
    monkeypatch.setenv(ENDPOINT, "http://collector:4318")
    return monkeypatch


TOLD = {
    "OTEL_TRACES_SAMPLER=foo": "none of always_on, always_off, ",
    "OTEL_EXPORTER_OTLP_ENDPOINT=nonsense": "no address as http://collector:4318 is one",
    "OTEL_EXPORTER_OTLP_ENDPOINT=collector:4318": "no address",
    "OTEL_EXPORTER_OTLP_ENDPOINT=http://": "no address",
    "OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:port": "no address",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=ftp://collector": "no address",
    "OTEL_EXPORTER_OTLP_TIMEOUT=abc": "no number above 0",
    "OTEL_EXPORTER_OTLP_TIMEOUT=0": "no number above 0",
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT=inf": "no number above 0",
    "OTEL_EXPORTER_OTLP_COMPRESSION=zip": "none of none, gzip, deflate",
    "OTEL_EXPORTER_OTLP_PROTOCOL=http/json": "none of http/protobuf, grpc",
    "OTEL_BSP_SCHEDULE_DELAY=abc": "no whole number",
    "OTEL_BSP_EXPORT_TIMEOUT=1.5": "no whole number",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE=many": "no whole number",
}


@pytest.mark.parametrize(("line", "reason"), TOLD.items(), ids=TOLD.keys())
def test_a_value_that_makes_no_sense_is_told_with_its_variable(
    variables: pytest.MonkeyPatch, line: str, reason: str
) -> None:
    """OpenTelemetry itself would warn, and take another value."""
    variables.setenv(*line.split("=", 1))

    with pytest.raises(ValueError, match=reason) as told:
        find_trace_settings()

    assert str(told.value).startswith(f"{line} is no")


@pytest.mark.parametrize(
    ("argument", "reason"), [("abc", "no number from 0 to 1"), ("2", "no number from 0 to 1")]
)
def test_a_share_that_is_none_is_told(
    variables: pytest.MonkeyPatch, argument: str, reason: str
) -> None:
    """Where the sampler takes one; the others have no use for it."""
    variables.setenv("OTEL_TRACES_SAMPLER_ARG", argument)
    assert find_trace_settings() == HTTP

    variables.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")

    with pytest.raises(ValueError, match=reason):
        find_trace_settings()


@pytest.mark.parametrize(
    ("lines", "settings"),
    [
        ("OTEL_TRACES_SAMPLER=Always_On", HTTP),
        ("OTEL_TRACES_SAMPLER=traceidratio OTEL_TRACES_SAMPLER_ARG=0.01", HTTP),
        ("OTEL_EXPORTER_OTLP_ENDPOINT=https://[::1]:4318/base", HTTP),
        ("OTEL_EXPORTER_OTLP_TIMEOUT=2.5 OTEL_EXPORTER_OTLP_COMPRESSION=none", HTTP),
        ("OTEL_BSP_SCHEDULE_DELAY=100", HTTP),
        ("OTEL_EXPORTER_OTLP_PROTOCOL=grpc OTEL_EXPORTER_OTLP_ENDPOINT=collector:4317", GRPC),
        (
            "OTEL_TRACES_EXPORTER=console OTEL_EXPORTER_OTLP_TIMEOUT=abc",
            TraceSettings(("console",)),
        ),
        ("OTEL_PROPAGATORS=b3", TraceSettings(("otlp_proto_http",), names_propagators=True)),
    ],
)
def test_values_that_are_known_are_taken(
    variables: pytest.MonkeyPatch, lines: str, settings: TraceSettings
) -> None:
    """As are those that nothing reads."""
    for line in lines.split():
        variables.setenv(*line.split("=", 1))

    assert find_trace_settings() == settings


def test_a_compression_that_grpc_does_not_have_is_told(variables: pytest.MonkeyPatch) -> None:
    """There OpenTelemetry knows but one."""
    variables.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    variables.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")

    with pytest.raises(ValueError, match="OTEL_EXPORTER_OTLP_COMPRESSION=none is none of gzip"):
        find_trace_settings()
