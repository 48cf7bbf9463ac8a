"""A server on a free port of loopback in the test's own event loop, and bare connections to it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import httpx
from starlette.types import ASGIApp

from service.api.server import DrainingServer, build_server
from service.config import Settings
from service.engines.base import Engine
from service.engines.calibration import image_limits
from service.engines.plan import EnginePlan
from service.serving.decode_workers import DecodeHere
from service.serving.runtime import Runtime, build_runtime
from service.store.load import StoreContents
from tests.fakes import FakeEngine
from tests.running import tiny_model


class Client:
    """One connection, byte by byte.

    Args:
        reader: of the connection.
        writer: of the connection.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Send bytes; a server that has closed the connection is no error."""
        self.writer.write(data)
        with suppress(ConnectionError):
            await self.writer.drain()

    async def answer(self) -> httpx.Response:
        """Read one answer whose length is given, past those that only tell to go on."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        while head.startswith(b"HTTP/1.1 100 "):
            head = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode().removesuffix("\r\n\r\n").split("\r\n")
        headers = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
        reply = httpx.Response(int(first.split()[1]), headers=headers)
        body = await self.reader.readexactly(int(reply.headers["content-length"]))
        return httpx.Response(reply.status_code, headers=headers, content=body)

    async def rest(self) -> bytes:
        """Read until the server closes the connection."""
        try:
            return await self.reader.read()
        except ConnectionError:
            return b""

    def close(self) -> None:
        """Close it."""
        self.writer.close()


@dataclass(frozen=True, slots=True)
class Listening:
    """A server that runs.

    Attributes:
        ended: when it has stopped.
        opened: connections to it, to be closed.
    """

    server: DrainingServer
    ended: asyncio.Task[None]
    runtime: Runtime
    port: int
    opened: list[Client | socket.socket] = field(default_factory=list)

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    async def connect(self) -> Client:
        """Open a connection."""
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        self.opened.append(client)
        return client

    async def leave_unread(self, request: bytes) -> socket.socket:
        """Send a request on a connection of which only the system reads, and not much."""
        loop = asyncio.get_running_loop()
        client = socket.socket()
        self.opened.append(client)
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", self.port))
        await loop.sock_sendall(client, request)
        return client

    def closed(self, reason: str) -> float:
        """How many connections the service closed for a reason."""
        labels = {"reason": reason}
        name = "sge_closed_connections_total"
        return self.runtime.metrics.registry.get_sample_value(name, labels) or 0.0

    def gauge(self, name: str) -> float:
        """The value of a metric without labels."""
        return self.runtime.metrics.registry.get_sample_value(name) or 0.0


def new_runtime(engine: Engine | None = None, **settings: object) -> Runtime:
    """The parts of a service of the tiny model, which decodes in this process.

    Args:
        engine: serves it; a fake one otherwise.
        settings: whatever shall differ from the defaults.
    """
    serving = engine or FakeEngine()
    chosen = Settings(**settings)  # type: ignore[arg-type]
    decoder = DecodeHere(image_limits(chosen))
    contents = StoreContents((tiny_model(),), ())
    return build_runtime(chosen, contents, lambda *_: EnginePlan(serving, serving), decoder)


@asynccontextmanager
async def listening(app: ASGIApp, runtime: Runtime) -> AsyncIterator[Listening]:
    """Serve an application until the test is done with it; it is stopped then, and left."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    server = build_server(app, runtime)
    ended = asyncio.ensure_future(server.serve([listener]))
    service = Listening(server, ended, runtime, port)
    try:
        yield service
    finally:
        for client in service.opened:
            client.close()
        server.end()
        await ended
