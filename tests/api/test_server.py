"""Stopping: what was accepted is answered, what comes is refused, a second signal cuts."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from service.api.context import open_context
from service.api.server import DrainingServer
from service.app import create_app
from service.engines.base import Engine
from service.serving.runtime import Runtime
from tests.connecting import Listening, listening, new_runtime
from tests.fakes import FakeEngine, GatedEngine
from tests.running import PNG, grey, until

pytestmark = pytest.mark.anyio


@dataclass(frozen=True, slots=True)
class Service:
    """A service that listens, and a client that keeps its connections."""

    listening: Listening
    client: httpx.AsyncClient

    @property
    def server(self) -> DrainingServer:
        """What stops."""
        return self.listening.server

    @property
    def ended(self) -> asyncio.Task[None]:
        """When it has."""
        return self.listening.ended

    @property
    def runtime(self) -> Runtime:
        """What it consists of."""
        return self.listening.runtime

    async def predict(self, image: bytes) -> httpx.Response:
        """Post an image's bytes."""
        return await self.client.post("/v1/predict", content=image, headers=PNG)

    def signal(self, number: int = signal.SIGTERM) -> None:
        """Do what a signal does."""
        self.server.handle_exit(number, None)


@asynccontextmanager
async def serving(engine: Engine, **settings: object) -> AsyncIterator[Service]:
    """Serve the tiny model on an engine; whoever asks first waits until it is ready."""
    runtime = new_runtime(engine, **settings)
    async with (
        listening(create_app(runtime), runtime) as service,
        httpx.AsyncClient(base_url=service.address, timeout=60) as client,
    ):
        yield Service(service, client)
        await service.ended


async def ready(service: Service) -> None:
    """Wait until the model answers."""
    while (await service.client.get("/readyz")).status_code != 200:
        pass


async def test_a_drain_answers_what_is_inside_and_refuses_what_comes() -> None:
    """On connections that stay open too: a refusal is an answer, and says to close."""
    engine = GatedEngine()
    async with serving(engine) as service, httpx.AsyncClient() as visitor:
        await ready(service)
        predict = service.client.base_url.join("/v1/predict")
        await visitor.get(predict)  # opens its connection: soon nobody new may connect
        accepted = asyncio.ensure_future(service.predict(grey(1)))
        await engine.entered()
        service.signal()
        try:
            refused = await visitor.post(predict, content=grey(2), headers=PNG)
        finally:
            engine.open()
        answered = await accepted

    assert (refused.status_code, refused.headers["connection"]) == (503, "close")
    assert answered.status_code == 200
    assert service.server.cut_requests == 0


async def test_a_request_whose_body_still_comes_is_answered_after_the_signal() -> None:
    """It holds no permit yet, and was let in all the same."""
    body, rest_may_come = grey(1), asyncio.Event()

    async def halves() -> AsyncIterator[bytes]:
        yield body[:20]
        await rest_may_come.wait()
        yield body[20:]

    async with serving(FakeEngine()) as service:
        await ready(service)
        sent = asyncio.ensure_future(
            service.client.post("/v1/predict", content=halves(), headers=PNG)
        )
        await until(lambda: is_receiving(service, 20))
        service.signal()
        rest_may_come.set()
        answered = await sent

    assert answered.status_code == 200
    assert service.server.cut_requests == 0


async def is_receiving(service: Service, size_bytes: int) -> bool:
    """Whether so many bytes of bodies have come."""
    return service.runtime.admission.in_use_bytes == size_bytes


async def test_an_idle_connection_does_not_hold_up_the_end() -> None:
    """A client that keeps its connection and says nothing is closed, long before its time-out."""
    async with serving(FakeEngine()) as service:
        await ready(service)
        await service.predict(grey(1))
        service.signal()
        stopped = time.monotonic()
        await service.ended
        seconds = time.monotonic() - stopped

    assert seconds < service.runtime.settings.keep_alive_s
    assert service.server.cut_requests == 0


async def test_a_service_may_take_requests_for_a_while_after_it_is_not_ready_any_more() -> None:
    """A balancer sees that first; each answer closes its connection; a second signal ends it."""
    async with serving(FakeEngine(), drain_delay_s=60) as service:
        await ready(service)
        service.signal()
        looked = await service.client.get("/readyz")
        answered = await service.predict(grey(1))
        service.signal()

    assert (looked.status_code, looked.json()["draining"]) == (503, True)
    assert (answered.status_code, answered.headers["connection"]) == (200, "close")


async def test_a_service_that_takes_requests_no_longer_refuses_them_after_the_delay() -> None:
    """Then it drains as without one."""
    engine = GatedEngine()
    async with serving(engine, drain_delay_s=0.01) as service, httpx.AsyncClient() as visitor:
        await ready(service)
        predict = service.client.base_url.join("/v1/predict")
        await visitor.get(predict)  # opens its connection: soon nobody new may connect
        accepted = asyncio.ensure_future(service.predict(grey(1)))
        await engine.entered()
        service.signal()
        await service.runtime.admission.draining.wait()
        try:
            refused = await visitor.post(predict, content=grey(2), headers=PNG)
        finally:
            engine.open()
        answered = await accepted

    assert (refused.status_code, answered.status_code) == (503, 200)


async def test_where_nobody_is_connected_the_delay_ends_early() -> None:
    """A stop on a quiet machine is quick."""
    async with serving(FakeEngine(), drain_delay_s=600) as service:
        async with httpx.AsyncClient(base_url=service.listening.address) as visitor:
            while (await visitor.get("/readyz")).status_code != 200:
                pass
        service.signal()
        await service.ended

    assert service.server.cut_requests == 0


async def test_a_second_signal_cuts_what_is_inside() -> None:
    """The server ends while the pass still runs, and says how many images that left."""
    engine = GatedEngine()
    async with serving(engine) as service:
        await ready(service)
        accepted = asyncio.ensure_future(service.predict(grey(1)))
        await engine.entered()
        service.signal()
        service.signal()
        await service.ended
        accepted.cancel()
        engine.open()
        await service.runtime.models.stop()  # of a process its end does that

    assert service.server.cut_requests == 1


async def test_a_closed_terminal_is_a_signal_to_stop_in_good_order() -> None:
    """What SIGHUP says: what is inside is answered, as after SIGTERM."""
    engine = GatedEngine()
    async with serving(engine) as service:
        await ready(service)
        accepted = asyncio.ensure_future(service.predict(grey(1)))
        await engine.entered()
        service.signal(signal.SIGHUP)
        engine.open()
        answered = await accepted

    assert (answered.status_code, service.server.cut_requests) == (200, 0)


async def test_the_end_of_the_drains_time_cuts_what_is_inside() -> None:
    """A pass that does not end cannot keep the service from stopping."""
    engine = GatedEngine()
    async with serving(engine, drain_timeout_s=0) as service:
        await ready(service)
        accepted = asyncio.ensure_future(service.predict(grey(1)))
        await engine.entered()
        service.signal()
        await service.ended
        accepted.cancel()
        engine.open()
        await service.runtime.models.stop()

    assert service.server.cut_requests == 1


async def test_a_stop_does_not_wait_for_an_engine_that_is_being_built() -> None:
    """With `SGE_TIERED=false` the only engine may take minutes to build; nobody waits for it."""

    class Slow(FakeEngine):
        is_loading, may_load = threading.Event(), threading.Event()

        def load(self) -> None:
            self.is_loading.set()
            self.may_load.wait()

    engine = Slow()
    async with serving(engine, tiered=False) as service:
        await asyncio.to_thread(engine.is_loading.wait)
        refused = await service.predict(grey(1))
        service.signal()
        await service.ended
        is_building = service.runtime.models.builder.is_busy
        engine.may_load.set()

    assert (refused.status_code, is_building, service.server.cut_requests) == (503, True, 0)


async def test_time_runs_from_when_the_head_was_read() -> None:
    """The protocol notes it before the application has its turn."""
    seen: list[tuple[float, float]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return
        seen.append((open_context(scope).began, time.monotonic()))
        await PlainTextResponse("here")(scope, receive, send)

    async with listening(app, new_runtime()) as service, httpx.AsyncClient() as client:
        sent = time.monotonic()
        await client.get(service.address)

    ((began, turn),) = seen
    assert sent < began < turn
