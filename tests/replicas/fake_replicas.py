"""Replicas of a few lines, which do with each request what the test says."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser

LOST = "lost"  # the connection is reset once the request has come
LOST_EARLY = "lost early"  # the connection is reset once its head has come
HELD = "/held"  # a path: it is answered once the test releases it


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


OK = Reply()


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as a replica saw it; its body is missing where nobody waited for it."""

    replica: int
    path: str
    headers: Message
    body: bytes = b""


@dataclass(slots=True)
class FakeReplicas:
    """Some replicas that share one plan.

    Attributes:
        ports: of loopback, one a replica.
        plan: what becomes of the next requests, in the order in which they come, whoever gets
            them; those after them are answered with 200.
        seen: the requests so far, probes left out.
        ready: the status of each replica's `/readyz`.
        always: what a replica answers whatever the plan says.
    """

    ports: list[int]
    ready: list[int]
    loop: asyncio.AbstractEventLoop
    always: dict[int, Reply] = field(default_factory=dict)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    plan: list[Reply | str] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)

    def release(self) -> None:
        """Have what is held answered; from any thread."""
        self.loop.call_soon_threadsafe(self.released.set)

    def _next(self, number: int) -> Reply | str:
        if number in self.always:
            return self.always[number]
        return self.plan.pop(0) if self.plan else OK

    async def converse(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer on one connection until it is closed."""
        try:
            while await self._answer(number, reader, writer):
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        first, _, lines = head.partition(b"\r\n")
        path, headers = first.split()[1].decode(), BytesParser().parsebytes(lines)
        if path == "/readyz":
            writer.write(_written(Reply(self.ready[number]), b""))
            return True
        step = self._next(number)
        body = b"" if step == LOST_EARLY else await _read_body(reader, headers)
        self.seen.append(Seen(number, path, headers, body))
        if path == HELD:
            await self.released.wait()
        if not isinstance(step, Reply):
            writer.transport.abort()
            return False
        writer.write(_written(step, json.dumps({"replica": number}).encode()))
        return True


async def _read_body(reader: asyncio.StreamReader, headers: Message) -> bytes:
    if headers["transfer-encoding"] != "chunked":
        return await reader.readexactly(int(headers["content-length"] or 0))
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body


def _written(reply: Reply, body: bytes) -> bytes:
    headers = {"content-length": str(len(body)), "content-type": "application/json"}
    lines = [f"{name}: {value}" for name, value in (headers | reply.headers).items()]
    return "\r\n".join([f"HTTP/1.1 {reply.status} X", *lines, "", ""]).encode() + body


@asynccontextmanager
async def fake_replicas(
    number: int, plan: Sequence[Reply | str] = ()
) -> AsyncIterator[FakeReplicas]:
    """Run some, ready, until the block is left."""
    replicas = FakeReplicas([], [200] * number, asyncio.get_running_loop(), plan=list(plan))
    async with AsyncExitStack() as servers:
        for index in range(number):
            server = await asyncio.start_server(
                functools.partial(replicas.converse, index),
                "127.0.0.1",
                0,
            )
            await servers.enter_async_context(server)
            replicas.ports.append(server.sockets[0].getsockname()[1])
        yield replicas
