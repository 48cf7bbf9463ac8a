"""The port of gRPC: its start, its encryption, what it bounds, and its end."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import StatusCode

from service.api.v2.grpc.server import options_of
from service.config import Settings
from service.errors import BadSetting
from tests.api.v2.grpc.calling import (
    HEALTH,
    INFERENCE,
    Client,
    connected,
    connection,
    pixels,
)
from tests.certificates import HAS_OPENSSL, new_certificate
from tests.fakes import FakeEngine, GatedEngine
from tests.running import running, until

pytestmark = pytest.mark.anyio

needs_openssl = pytest.mark.skipif(not HAS_OPENSSL, reason="openssl makes the certificate")


async def test_nothing_is_served_unless_a_port_is_set() -> None:
    """By default HTTP stands alone."""
    async with running(engine=FakeEngine()) as service:
        assert service.grpc == []


async def test_a_port_that_is_taken_ends_the_start() -> None:
    """Also where another service of this kind has it, with which gRPC would share it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(BadSetting, match=f"SGE_HOST=127.0.0.1 SGE_GRPC_PORT={port}"):
            async with running(engine=FakeEngine(), grpc_port=port):
                pass

    async with running(engine=FakeEngine(), grpc_port=0) as first:
        port = int(first.grpc[0].rpartition(":")[2])

        with pytest.raises(BadSetting, match="the address is taken"):
            async with running(engine=FakeEngine(), grpc_port=port):
                pass


async def test_watchers_do_not_hold_up_the_end() -> None:
    """However long the drain may take."""
    async with connected(engine=FakeEngine(), drain_timeout_s=300) as client:
        watch = client.channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")
        await watch.read()
        client.service.runtime.admission.drain()
        told = await watch.read()

    assert isinstance(told, bytes)


def certificate_of(files: dict[str, str]) -> bytes:
    """The certificate that is in its file now."""
    return Path(files["tls_cert_file"]).read_bytes()


@needs_openssl
async def test_calls_come_encrypted_and_a_renewed_certificate_is_shown(tmp_path: Path) -> None:
    """By the files that HTTPS has, without a restart; none is let in without TLS."""
    files = new_certificate(tmp_path)
    first = certificate_of(files)
    trust = grpc.ssl_channel_credentials(first)
    async with connected(engine=FakeEngine(), credentials=trust, **files) as client:
        trusted = await client.infer(pixels(1))
        async with connection(client.service.grpc[0]) as plain:
            unencrypted = await plain.unary_unary("/x/X")(b"", timeout=10).code()
        new_certificate(tmp_path)
        second = certificate_of(files)
        await until(lambda: _trusts(client.service.grpc[0], second))
        stale = await _trusts(client.service.grpc[0], first)

    assert trusted.code == StatusCode.OK
    assert unencrypted == StatusCode.UNAVAILABLE
    assert not stale


async def _trusts(address: str, certificate: bytes) -> bool:
    """Whether a new client that trusts a certificate alone gets through."""
    async with connection(address, grpc.ssl_channel_credentials(certificate)) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(b"", timeout=10)
        return bool(await call.code() == StatusCode.OK)


@needs_openssl
async def test_files_that_make_no_certificate_end_the_start(tmp_path: Path) -> None:
    """A key of another certificate would fail every handshake."""
    files = new_certificate(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    files["tls_key_file"] = new_certificate(other)["tls_key_file"]

    with pytest.raises(BadSetting, match="SGE_TLS_CERT_FILE="):
        async with connected(engine=FakeEngine(), credentials=None, **files):
            pass


async def test_connections_are_bounded() -> None:
    """One more is not let in."""
    async with connected(engine=FakeEngine(), max_connections=2) as client:
        path = "/inference.GRPCInferenceService/ServerLive"
        first = await client.call("ServerLive")
        channels = [connection(client.service.grpc[0]) for _ in range(3)]
        codes = [await c.unary_unary(path)(b"", timeout=5).code() for c in channels]
        for channel in channels:
            await channel.close()

    assert first.code == StatusCode.OK
    assert codes.count(StatusCode.OK) == 1


@pytest.mark.parametrize("path", [f"{INFERENCE}ModelInfer", f"{HEALTH}Check"])
async def test_calls_that_send_nothing_hold_up_no_other_connection(path: str) -> None:
    """Neither its predictions nor its probes; of one connection so many are begun as may be."""
    async with connected(engine=FakeEngine(), body_timeout_s=300) as client:
        silent = [client.channel.stream_unary(path)() for _ in range(200)]
        await until(lambda: _have_begun(silent))
        async with connection(client.service.grpc[0]) as channel:
            other = Client(client.service, channel)
            predicted = [await other.infer(pixels(1), timeout=5) for _ in range(20)]
            probed = [await other.call(f"{HEALTH}Check", timeout=5) for _ in range(20)]
        for call in silent:
            call.cancel()

    assert [reply.code for reply in (*predicted, *probed)] == [StatusCode.OK] * 40


async def _have_begun(calls: list[Any]) -> bool:
    return not any(call.done() for call in calls)


async def test_a_connection_that_is_old_is_replaced_and_what_it_began_is_answered() -> None:
    """The client connects anew by itself."""
    engine = GatedEngine()
    async with connected(engine=engine, grpc_connection_age_s=0.05, max_batch=1) as client:
        begun = asyncio.ensure_future(client.infer(pixels(1)))
        await engine.entered()
        await until(lambda: _has_left(client, grpc.ChannelConnectivity.READY))
        engine.open(2)
        replies = [await begun, await client.infer(pixels(2))]

    assert [reply.code for reply in replies] == [StatusCode.OK] * 2


async def _has_left(client: Client, state: grpc.ChannelConnectivity) -> bool:
    return bool(client.channel.get_state() != state)


def test_what_grpc_bounds_follows_the_settings() -> None:
    """Messages, metadata, connections and the times that they may take."""
    options = dict(
        options_of(
            Settings(
                body_limit_mb=1,
                head_limit_kb=2,
                head_timeout_s=3,
                keep_alive_s=4,
                max_connections=5,
            )
        )
    )

    assert options["grpc.max_receive_message_length"] == 1_000_000
    assert options["grpc.absolute_max_metadata_size"] == 2000
    assert options["grpc.server_handshake_timeout_ms"] == 3000
    assert options["grpc.max_connection_idle_ms"] == 4000
    assert options["grpc.max_allowed_incoming_connections"] == 5
    assert options["grpc.keepalive_time_ms"] == 4000
    assert options["grpc.keepalive_timeout_ms"] == 3000


def test_connections_get_old_only_where_that_is_set() -> None:
    """With the drain's time for their calls."""
    never = dict(options_of(Settings()))
    old = dict(options_of(Settings(grpc_connection_age_s=90, drain_timeout_s=7)))

    assert "grpc.max_connection_age_ms" not in never
    assert old["grpc.max_connection_age_ms"] == 90_000
    assert old["grpc.max_connection_age_grace_ms"] == 7000
