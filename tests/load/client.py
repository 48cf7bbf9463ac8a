"""The client's side of HTTP: sends kinds of requests and reads what the service says of itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp

from tests.load.mix import Kind
from tests.load.sender import Answer, Sent

ANSWER_OF = {429: Answer.REFUSED, 503: Answer.REFUSED, 504: Answer.EXPIRED}


class Target(Protocol):
    """The service under load."""

    async def send(self, kind: Kind, deadline_s: float | None = None) -> Sent:
        """Send a request and wait until its answer is complete, or given up.

        Args:
            kind: of request.
            deadline_s: what the request says of how long its answer is of use.
        """

    async def read_metrics(self) -> str:
        """Return the text of `/metrics`."""

    async def describe(self) -> dict[str, Any]:
        """Return what `/v1/models/{name}` says of the model that answers."""


@dataclass(slots=True)
class _Stamp:
    """A request's moments, on the clock of the running loop.

    Attributes:
        left_s: when it began to leave; until then, when the client took it up.
        connecting_since_s: when it began to open a connection.
        connecting_s: how long that took.
    """

    left_s: float
    connecting_since_s: float = 0.0
    connecting_s: float = 0.0

    def start_connecting(self, now: float) -> None:
        self.connecting_since_s = now

    def end_connecting(self, now: float) -> None:
        self.connecting_s = now - self.connecting_since_s

    def leave(self, now: float) -> None:
        self.left_s = now


def _telling(moment: Callable[[_Stamp, float], None]) -> Callable[..., Awaitable[None]]:
    """What tells the stamp that was left with a request, if one was, that a moment has come."""

    async def tell(_: aiohttp.ClientSession, context: Any, __: object) -> None:
        if isinstance(context.trace_request_ctx, _Stamp):
            moment(context.trace_request_ctx, asyncio.get_running_loop().time())

    return tell


def _tracing() -> aiohttp.TraceConfig:
    tracing = aiohttp.TraceConfig()
    tracing.on_connection_create_start.append(_telling(_Stamp.start_connecting))
    tracing.on_connection_create_end.append(_telling(_Stamp.end_connecting))
    tracing.on_request_headers_sent.append(_telling(_Stamp.leave))
    return tracing


class HttpTarget:
    """A service behind HTTP.

    Args:
        session: with the service's address as its base.
    """

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def send(self, kind: Kind, deadline_s: float | None = None) -> Sent:
        """Post a kind's body; connections are kept, and made as many as there is need for."""
        stamp = _Stamp(asyncio.get_running_loop().time())
        answer = await self._post(kind, deadline_s, stamp)
        return Sent(answer, stamp.left_s, stamp.connecting_s)

    async def _post(self, kind: Kind, deadline_s: float | None, stamp: _Stamp) -> Answer:
        headers = kind.headers
        if deadline_s is not None:
            headers["X-Request-Deadline-Ms"] = f"{deadline_s * 1000:g}"
        try:
            async with self._session.post(
                kind.path, data=kind.body, headers=headers, trace_request_ctx=stamp
            ) as answer:
                await answer.read()
        except TimeoutError:
            return Answer.TIMED_OUT
        except aiohttp.ClientError:
            return Answer.FAILED
        if answer.status == kind.status:
            return Answer.OK
        return ANSWER_OF.get(answer.status, Answer.FAILED)

    async def read_metrics(self) -> str:
        """Return the text of `/metrics`."""
        async with self._session.get("/metrics") as answer:
            answer.raise_for_status()
            return await answer.text()

    async def describe(self) -> dict[str, Any]:
        """Return what the service says of its default model, or of its only one."""
        async with self._session.get("/v1/models") as answer:
            answer.raise_for_status()
            models = (await answer.json())["models"]
        chosen = next((model for model in models if model["default"]), models[0])
        async with self._session.get(f"/v1/models/{chosen['name']}") as answer:
            answer.raise_for_status()
            described: dict[str, Any] = await answer.json()
        return described


@asynccontextmanager
async def connect(url: str, timeout_s: float) -> AsyncIterator[Target]:
    """Open a client.

    Args:
        url: the service's address.
        timeout_s: after it the client gives a request up.
    """
    async with aiohttp.ClientSession(
        url,
        trace_configs=[_tracing()],
        timeout=aiohttp.ClientTimeout(total=timeout_s),
        connector=aiohttp.TCPConnector(limit=0),  # a limit would be a queue of the client's own
    ) as session:
        yield HttpTarget(session)
