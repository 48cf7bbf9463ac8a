"""The health service of gRPC."""

from __future__ import annotations

from typing import Any

import pytest
from grpc import StatusCode
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from service.api.v2.grpc.health import WATCHES_OF_A_CONNECTION
from service.api.v2.grpc.open_inference_pb2 import ModelReadyRequest, ModelReadyResponse
from service.api.v2.grpc.server import PROTOCOL
from tests.api.v2.grpc.calling import HEALTH, Client, connected, connection, pixels
from tests.fakes import FakeEngine, SlowEngine
from tests.running import until

pytestmark = pytest.mark.anyio

SERVING: int = HealthCheckResponse.SERVING
NOT_SERVING: int = HealthCheckResponse.NOT_SERVING
UNKNOWN: int = HealthCheckResponse.SERVICE_UNKNOWN


async def check(client: Client, name: str = "") -> int:
    """Ask once."""
    sent = HealthCheckRequest(service=name).SerializeToString()
    reply = await client.call(f"{HEALTH}Check", sent)
    assert reply.code == StatusCode.OK, reply.details
    return int(HealthCheckResponse.FromString(reply.content).status)


def watch(client: Client, name: str = "") -> Any:
    """Begin to watch."""
    call = client.channel.unary_stream(f"{HEALTH}Watch")
    return call(HealthCheckRequest(service=name).SerializeToString())


async def told(call: Any) -> int:
    """The next state that a watcher is told."""
    return int(HealthCheckResponse.FromString(await call.read()).status)


async def test_health_follows_readiness() -> None:
    """Of the whole and of each of a model's names, until the service drains."""
    names = ("", PROTOCOL, "tiny", "tiny-image")
    engine = SlowEngine()
    async with connected(engine=engine, is_awaited=False) as client:
        loading = [await check(client, name) for name in names]
        engine.may_load.set()
        await client.service.ready
        ready = [await check(client, name) for name in names]
        client.service.runtime.admission.drain()
        draining = [await check(client, name) for name in names]

    assert (loading, ready, draining) == ([NOT_SERVING] * 4, [SERVING] * 4, [NOT_SERVING] * 4)


async def test_what_is_not_there_is_told() -> None:
    """To who asks once as an error, to who watches as a state: it may come."""
    async with connected(engine=FakeEngine()) as client:
        sent = HealthCheckRequest(service="other").SerializeToString()
        once = await client.call(f"{HEALTH}Check", sent)
        watched = await told(watch(client, "other"))

    assert (once.code, watched) == (StatusCode.NOT_FOUND, UNKNOWN)


async def test_a_watcher_hears_of_a_change() -> None:
    """Each state once."""
    async with connected(engine=FakeEngine()) as client:
        call = watch(client)
        first = await told(call)
        client.service.runtime.admission.drain()
        second = await told(call)

    assert (first, second) == (SERVING, NOT_SERVING)


async def test_a_service_that_leaves_serves_no_model() -> None:
    """Though it takes calls for a while yet: balancers turn away, whatever name they ask by."""
    names = ("", PROTOCOL, "tiny", "tiny-image")
    async with connected(engine=FakeEngine()) as client:
        client.service.runtime.admission.leave()
        told = [await check(client, name) for name in names]
        asked = await client.call("ModelReady", ModelReadyRequest(name="tiny"))
        answered = await client.infer(pixels(1))

    assert told == [NOT_SERVING] * 4
    assert not asked.read(ModelReadyResponse).ready
    assert answered.code == StatusCode.OK


async def test_a_connection_has_but_some_of_the_watchers() -> None:
    """Others find room, and its own find it again."""
    async with connected(engine=FakeEngine()) as client:
        watching = [watch(client) for _ in range(WATCHES_OF_A_CONNECTION)]
        states = [await told(call) for call in watching]
        refused = await watch(client).code()
        async with connection(client.service.grpc[0]) as channel:
            other = await told(watch(Client(client.service, channel)))
        watching[0].cancel()
        await until(lambda: _is_let_in(client))

    assert states == [SERVING] * WATCHES_OF_A_CONNECTION
    assert (refused, other) == (StatusCode.RESOURCE_EXHAUSTED, SERVING)


async def test_watchers_are_bounded() -> None:
    """One that leaves makes room for another."""
    async with connected(engine=FakeEngine(), probe_connections=1) as client:
        first = watch(client)
        await told(first)
        refused = await watch(client).code()
        first.cancel()
        await until(lambda: _is_let_in(client))

    assert refused == StatusCode.RESOURCE_EXHAUSTED


async def _is_let_in(client: Client) -> bool:
    call = watch(client)
    try:
        return isinstance(await call.read(), bytes)
    finally:
        call.cancel()
