"""The client's side of HTTP: sends kinds of requests and reads what the service says of itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

import aiohttp

from tests.load.mix import Kind
from tests.load.sender import Answer

ANSWER_OF = {429: Answer.REFUSED, 503: Answer.REFUSED, 504: Answer.EXPIRED}


class Target(Protocol):
    """The service under load."""

    async def send(self, kind: Kind, deadline_s: float | None = None) -> Answer:
        """Send a request and wait until its answer is complete, or given up.

        Args:
            kind: of request.
            deadline_s: what the request says of how long its answer is of use.
        """

    async def read_metrics(self) -> str:
        """Return the text of `/metrics`."""

    async def describe(self) -> dict[str, Any]:
        """Return what `/v1/models/{name}` says of the model that answers."""


class HttpTarget:
    """A service behind HTTP.

    Args:
        session: with the service's address as its base.
    """

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def send(self, kind: Kind, deadline_s: float | None = None) -> Answer:
        """Post a kind's body; connections are kept, and made as many as there is need for."""
        headers = {"Content-Type": kind.content_type}
        if deadline_s is not None:
            headers["X-Request-Deadline-Ms"] = f"{deadline_s * 1000:g}"
        try:
            async with self._session.post(kind.path, data=kind.body, headers=headers) as answer:
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
        timeout=aiohttp.ClientTimeout(total=timeout_s),
        connector=aiohttp.TCPConnector(limit=0),  # a limit would be a queue of the client's own
    ) as session:
        yield HttpTarget(session)
