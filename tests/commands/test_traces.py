"""Spans of a service as a process: to a collector that takes them, and to those that do not."""

from __future__ import annotations

import contextlib
import http.server
import queue
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.processes import PATIENCE_S, Served, ready
from tests.running import PNG, grey

pytestmark = pytest.mark.slow

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
NAMES = ["POST /v1/predict", "answer", "batch", "batch run", "body", "decode", "queue"]
STOPS_WITHIN_S = 30  # a flush takes 3 s at most; a machine that is busy takes its time


@pytest.fixture
def store(tiny_version: Path) -> Path:
    """The store with the tiny model, only read."""
    return tiny_version.parents[1]


class Collector(http.server.ThreadingHTTPServer):
    """Takes spans over OTLP."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taker)
        self.taken: queue.SimpleQueue[ExportTraceServiceRequest] = queue.SimpleQueue()


class _Taker(http.server.BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        """Take what is sent."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.taken.put(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its base's name
        """Say nothing."""


@contextlib.contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that runs."""
    with Collector() as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        try:
            yield collector
        finally:
            collector.shutdown()
            thread.join()


@contextlib.contextmanager
def traced(store: Path, port: int, *variables: str) -> Iterator[Served]:
    """A service that sends its spans to a port."""
    asked = (f"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:{port}", *variables)
    with ready(store, "--log-level", "warning", engine="stub", before=("env", *asked)) as service:
        yield service


def predict(service: Served, **headers: str) -> int:
    """Have one picture answered."""
    address = f"{service.address}/v1/predict"
    reply = httpx.post(address, content=grey(1), headers=PNG | headers, timeout=PATIENCE_S)
    return reply.status_code


def test_a_collector_gets_every_span_before_the_service_ends(store: Path) -> None:
    """Those of the last requests, too; they say which service they are of."""
    with collecting() as collector, traced(store, collector.server_port) as service:
        status = predict(service, traceparent=f"00-{TRACE}-{SPAN}-01")
        code = service.stop()

        taken = collector.taken.get_nowait()

    (of_service,) = taken.resource_spans
    resource = {each.key: each.value.string_value for each in of_service.resource.attributes}
    spans = [span for scope in of_service.scope_spans for span in scope.spans]
    assert (status, code) == (200, 0)
    assert sorted(span.name for span in spans) == NAMES
    assert {span.trace_id.hex() for span in spans if span.name != "batch run"} == {TRACE}
    assert resource["service.name"] == "sge-serve"


def test_a_sampler_by_its_variables_decides(store: Path) -> None:
    """None of a client's requests is sampled, but the one that is sampled already."""
    sampler = ("OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=0")
    with collecting() as collector, traced(store, collector.server_port, *sampler) as service:
        statuses = [predict(service), predict(service, traceparent=f"00-{TRACE}-{SPAN}-01")]
        service.stop()

        taken = collector.taken.get_nowait()

    spans = [s for each in taken.resource_spans for scope in each.scope_spans for s in scope.spans]
    assert statuses == [200, 200]
    assert sorted(span.name for span in spans) == NAMES


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize("is_open", [False, True], ids=["nobody listens", "nobody answers"])
def test_a_collector_that_takes_nothing_holds_nothing_up(
    store: Path, protocol: str, *, is_open: bool
) -> None:
    """Requests are answered while it is tried, and the service ends in order soon after."""
    variables = (f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol}", "OTEL_BSP_SCHEDULE_DELAY=10")
    with socket.create_server(("127.0.0.1", 0)) as collector:
        port = collector.getsockname()[1]
        if not is_open:
            collector.close()
        with traced(store, port, *variables) as service:
            statuses = [predict(service) for _ in range(20)]
            code = service.stop(timeout_s=STOPS_WITHIN_S)

    assert (statuses, code) == ([200] * 20, 0)
