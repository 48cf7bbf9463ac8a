"""Stopping: what was accepted is answered, what comes is refused, a second signal cuts."""

from __future__ import annotations

import asyncio
import signal
import socket
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
from service.api.server import KEEP_ALIVE_S, DrainingServer, build_server
from service.app import Hooks, create_app
from service.config import Settings
from service.engines.base import Engine
from service.engines.plan import EnginePlan
from service.serving.runtime import Runtime, build_runtime
from service.store.load import StoreContents
from tests.fakes import FakeEngine, GatedEngine
from tests.running import PNG, grey, tiny_model

pytestmark = pytest.mark.anyio


@dataclass(frozen=True, slots=True)
class Listening:
    """A server on a free port of loopback, and a client that keeps its connections."""

    server: DrainingServer
    ended: asyncio.Task[None]
    client: httpx.AsyncClient
    runtime: Runtime
    ready: asyncio.Event

    async def predict(self, image: bytes) -> httpx.Response:
        """Post an image's bytes."""
        return await self.client.post("/v1/predict", content=image, headers=PNG)

    def signal(self) -> None:
        """Do what a SIGTERM does."""
        self.server.handle_exit(signal.SIGTERM, None)


@asynccontextmanager
async def listening(engine: Engine, **settings: object) -> AsyncIterator[Listening]:
    """Serve the tiny model on an engine."""
    chosen = Settings(**settings)  # type: ignore[arg-type]
    contents = StoreContents((tiny_model(),), ())
    runtime = build_runtime(chosen, contents, lambda *_: EnginePlan(engine, engine))
    listener = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    ready = asyncio.Event()
    server = build_server(create_app(runtime, Hooks(on_ready=ready.set)), runtime)
    ended = asyncio.ensure_future(server.serve([listener]))
    async with httpx.AsyncClient(base_url=address, timeout=60) as client:
        yield Listening(server, ended, client, runtime, ready)
        await ended


async def test_a_drain_answers_what_is_inside_and_refuses_what_comes() -> None:
    """On connections that stay open too: a refusal is an answer, and says to close."""
    engine = GatedEngine()
    async with listening(engine) as service, httpx.AsyncClient() as visitor:
        await service.ready.wait()
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
    assert service.server.cut_images == 0


async def test_an_idle_connection_does_not_hold_up_the_end() -> None:
    """A client that keeps its connection and says nothing is closed, long before its time-out."""
    async with listening(FakeEngine()) as service:
        await service.ready.wait()
        await service.predict(grey(1))
        service.signal()
        stopped = time.monotonic()
        await service.ended
        seconds = time.monotonic() - stopped

    assert seconds < KEEP_ALIVE_S
    assert service.server.cut_images == 0


async def test_a_second_signal_cuts_what_is_inside() -> None:
    """The server ends while the pass still runs, and says how many images that left."""
    engine = GatedEngine()
    async with listening(engine) as service:
        await service.ready.wait()
        accepted = asyncio.ensure_future(service.predict(grey(1)))
        await engine.entered()
        service.signal()
        service.signal()
        await service.ended
        accepted.cancel()
        engine.open()
        await service.runtime.models.stop()  # of a process its end does that

    assert service.server.cut_images == 1


async def test_the_end_of_the_drains_time_cuts_what_is_inside() -> None:
    """A pass that does not end cannot keep the service from stopping."""
    engine = GatedEngine()
    async with listening(engine, drain_timeout_s=0) as service:
        await service.ready.wait()
        accepted = asyncio.ensure_future(service.predict(grey(1)))
        await engine.entered()
        service.signal()
        await service.ended
        accepted.cancel()
        engine.open()
        await service.runtime.models.stop()

    assert service.server.cut_images == 1


async def test_a_stop_does_not_wait_for_an_engine_that_is_being_built() -> None:
    """With `SGE_TIERED=false` the only engine may take minutes to build; nobody waits for it."""

    class Slow(FakeEngine):
        is_loading, may_load = threading.Event(), threading.Event()

        def load(self) -> None:
            self.is_loading.set()
            self.may_load.wait()

    engine = Slow()
    async with listening(engine, tiered=False) as service:
        await asyncio.to_thread(engine.is_loading.wait)
        refused = await service.predict(grey(1))
        service.signal()
        await service.ended
        is_building = service.runtime.models.is_building
        engine.may_load.set()

    assert (refused.status_code, is_building, service.server.cut_images) == (503, True, 0)


async def test_time_runs_from_when_the_head_was_read() -> None:
    """The protocol notes it before the application has its turn."""
    runtime = build_runtime(Settings(), StoreContents((tiny_model(),), ()))
    seen: list[tuple[float, float]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return
        seen.append((open_context(scope).began, time.monotonic()))
        await PlainTextResponse("here")(scope, receive, send)

    server = build_server(app, runtime)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = asyncio.ensure_future(server.serve([listener]))
        sent = time.monotonic()
        async with httpx.AsyncClient() as client:
            await client.get(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        server.end()
        await ended

    ((began, turn),) = seen
    assert sent < began < turn
