"""Calls of any method: who is let in, how they end, and what is written of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import StatusCode
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from service.api.entrance import Entrance
from service.api.key_file import add_key
from service.api.loop_watch import LoopWatch
from service.api.parsing import ParsingLanes
from service.api.v2.grpc.call import Call
from service.api.v2.grpc.methods import Method
from service.api.v2.grpc.service import Service
from service.api.v2.grpc.unread import SLOWEST_BYTES_PER_S, UnreadReplies, hang_up
from service.metrics import Metrics
from service.serving.timer import LoopTimer
from service.tracing.tracer import NullTracer
from tests.api.v2.grpc.calling import HEALTH, INFERENCE, connected, connection, pixels
from tests.fakes import FakeEngine
from tests.running import until

pytestmark = pytest.mark.anyio

LARGE_BYTES = 8_000_000
IS_LIVE = b"\0\0\0\0\2\x08\1"  # the message of a ServerLiveResponse, with its length


@asynccontextmanager
async def serving(
    run: Callable[[Call], Awaitable[bytes | None]], answer_timeout_s: float = 60
) -> AsyncIterator[tuple[Any, Metrics]]:
    """Serve one method, `/test/Run`, and connect to it."""
    metrics = Metrics(CollectorRegistry())
    entrance = Entrance(None, None, LoopWatch(LoopTimer(), lambda _: None), ParsingLanes())
    unread = UnreadReplies(
        10 * LARGE_BYTES,
        answer_timeout_s,
        hang_up,
        lambda reason: metrics.closed_connections.labels(reason).inc(),
    )
    service = Service(
        {"/test/Run": Method(run)},
        entrance,
        unread,
        metrics,
        stopping=asyncio.Event(),
        tracer=NullTracer(),
    )
    server = grpc.aio.server(handlers=[service])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with connection(f"127.0.0.1:{port}") as channel:
        yield channel, metrics
    await server.stop(0)


async def test_a_fault_of_ours_is_told_without_detail() -> None:
    """The log has the cause under the request id."""

    async def run(call: Call) -> bytes:
        raise RuntimeError("a secret")

    with capture_logs() as lines:
        async with serving(run) as (channel, _):
            call = channel.unary_unary("/test/Run")(b"", metadata=(("x-request-id", "seven"),))
            code, details = await call.code(), await call.details()

    assert code == StatusCode.INTERNAL
    assert details.endswith("seven")
    assert "secret" not in details
    assert [line["event"] for line in lines] == ["request failed", "request"]


async def test_a_method_that_is_not_there_is_told_and_logged() -> None:
    """Those of the protocol that nothing serves among them."""
    sent = (("x-request-id", "seven"),)
    with capture_logs() as lines:
        async with connected(engine=FakeEngine()) as client:
            replies = [
                await client.call(name, metadata=sent)
                for name in ("ModelStreamInfer", "/other/Method")
            ]
            await until(lambda: _are_logged(lines, 2))

    told = [(reply.code, reply.trailers["x-request-id"]) for reply in replies]
    logged = [(line["path"], line["outcome"], line["status"]) for line in requests_in(lines)]
    assert told == [(StatusCode.UNIMPLEMENTED, "seven")] * 2
    assert logged == [
        (f"{INFERENCE}ModelStreamInfer", "not_found", 12),
        ("/other/Method", "not_found", 12),
    ]


def requests_in(lines: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those of the access log."""
    return [line for line in lines if line["event"] == "request"]


async def _are_logged(lines: Sequence[Mapping[str, Any]], count: int) -> bool:
    return len(requests_in(lines)) == count


@pytest.mark.parametrize("readers", [1, 3])
async def test_a_client_that_does_not_read_loses_its_connection(readers: int) -> None:
    """Its reply is held no longer than its time."""

    async def run(call: Call) -> bytes:
        return bytes(LARGE_BYTES)

    at_once_s = 0.5 - LARGE_BYTES / SLOWEST_BYTES_PER_S  # beside the time for the size
    async with serving(run, at_once_s) as (channel, metrics):
        stuck: list[Any] = [channel.unary_stream("/test/Run")(b"") for _ in range(readers)]
        codes = [await call.code() for call in stuck]
        closed = metrics.registry.get_sample_value(
            "sge_closed_connections_total", {"reason": "slow_reader"}
        )

    assert codes == [StatusCode.UNAVAILABLE] * readers
    assert closed is not None
    assert closed >= 1


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the keys are."""
    return tmp_path / "keys"


async def test_clients_need_a_key_but_for_health(file: Path) -> None:
    """In either of two metadata; a wrong one opens nothing."""
    key = add_key(file, "shop")
    sent: list[tuple[tuple[str, str], ...]] = [
        (),
        (("x-api-key", "sge_wrong"),),
        (("x-api-key", key),),
        (("authorization", f"Bearer {key}"),),
    ]
    async with connected(engine=FakeEngine(), api_keys_file=file) as client:
        predicted = [await client.infer(pixels(1), metadata=metadata) for metadata in sent]
        asked = [await client.call("ServerMetadata", metadata=metadata) for metadata in sent]
        health = [await client.call(name) for name in ("ServerLive", f"{HEALTH}Check")]
        books = client.service.runtime.metrics.registry.get_sample_value(
            "sge_key_requests_total", {"key": "shop", "outcome": "ok"}
        )

    let_in = [StatusCode.UNAUTHENTICATED] * 2 + [StatusCode.OK] * 2
    assert [reply.code for reply in predicted] == let_in
    assert [reply.code for reply in asked] == let_in
    assert predicted[0].details == "a key is needed: Authorization: Bearer KEY, or X-API-Key: KEY"
    assert [reply.code for reply in health] == [StatusCode.OK] * 2
    assert books == 4


async def test_metadata_that_is_no_text_is_passed_over() -> None:
    """Binary values, and a request id that is too long to be one."""
    metadata = (("data-bin", b"\0\xff"), ("x-request-id", "x" * 500))
    async with connected(engine=FakeEngine()) as client:
        reply = await client.infer(pixels(1), metadata=metadata)

    assert reply.code == StatusCode.OK
    assert len(reply.trailers["x-request-id"]) == 32


def call_of(path: str, *metadata: tuple[str, bytes]) -> bytes:
    """A connection's first call with an empty message, as no library would send it."""
    fields = [
        (":method", b"POST"),
        (":scheme", b"http"),
        (":path", path.encode()),
        (":authority", b"x"),
        ("te", b"trailers"),
        ("content-type", b"application/grpc"),
        *metadata,
    ]
    written = [
        b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value
        for name, value in fields
    ]
    settings = frame_of(0x4, 0, 0, b"")
    head = frame_of(0x1, 0x4, 1, b"".join(written))  # the flag ends it
    message = frame_of(0x0, 0x1, 1, bytes(5))
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings + head + message


def frame_of(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    """A frame of HTTP/2."""
    size = len(content).to_bytes(3, "big")
    return size + bytes([kind, flags]) + stream.to_bytes(4, "big") + content


@pytest.mark.parametrize("sent", ["caf\xe9".encode("latin-1"), "\u732b".encode(), b"\xff\xfe"])
@pytest.mark.parametrize("name", ["x-request-id", "x-api-key", "anything"])
async def test_metadata_that_is_no_ascii_is_passed_over(name: str, sent: bytes) -> None:
    """Whatever it stands for; the call is answered, and has its line in the log."""
    with capture_logs() as lines:
        async with connected(engine=FakeEngine()) as client:
            host, _, port = client.service.grpc[0].rpartition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(call_of(f"{INFERENCE}ServerLive", (name, sent)))
            await reader.readuntil(IS_LIVE)
            await until(lambda: _are_logged(lines, 1))
            writer.close()

    assert [line["outcome"] for line in requests_in(lines)] == ["ok"]


async def test_metadata_over_the_limit_ends_the_call() -> None:
    """By the same setting as heads of HTTP."""
    async with connected(engine=FakeEngine(), head_limit_kb=1) as client:
        reply = await client.infer(pixels(1), metadata=(("x-request-id", "x" * 2000),))
        good = await client.infer(pixels(1))

    assert (reply.code, good.code) == (StatusCode.RESOURCE_EXHAUSTED, StatusCode.OK)
