"""Clients that post one picture after the other, and keep every answer."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from tests.running import PNG

NO_ANSWER = "no answer"
PATIENCE_S = 120.0  # only against hanging
PATH = "/v1/predict?top_k=1"


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of one request.

    Attributes:
        began_s: when it was sent, by `time.monotonic`.
        took_s: until its answer was read, or its connection broke.
        status: of HTTP, the error's code behind it; `NO_ANSWER` where the connection broke.
        version: of the model that answered; empty where none did.
    """

    began_s: float
    took_s: float
    status: str
    version: str = ""


@dataclass(slots=True)
class Crowd:
    """Clients in closed loop.

    Attributes:
        answers: so far, in the order in which they came.
    """

    pictures: Sequence[bytes]
    answers: list[Answered] = field(default_factory=list)
    _is_over: bool = False
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def statuses(self) -> Counter[str]:
        """How often which status was answered."""
        return Counter(answer.status for answer in self.answers)

    async def receive(self, number: int) -> None:
        """Wait until so many more requests have been answered."""
        wanted = len(self.answers) + number
        while len(self.answers) < wanted:
            self._more.clear()
            await self._more.wait()

    async def receive_from(self, version: str, number: int) -> None:
        """Wait until so many answers in a row are of a version of the model."""
        row = 0
        while row < number:
            await self.receive(1)
            row = row + 1 if self.answers[-1].version == version else 0

    async def post_in_turn(self, session: aiohttp.ClientSession, first: int) -> None:
        """Post until it is over."""
        turn = first
        while not self._is_over:
            turn += 1
            answer = await post(session, self.pictures[turn % len(self.pictures)])
            self.answers.append(answer)
            self._more.set()

    def end(self) -> None:
        """Have nobody post anything further."""
        self._is_over = True


@asynccontextmanager
async def crowd(url: str, clients: int, pictures: Sequence[bytes]) -> AsyncIterator[Crowd]:
    """Let clients post until the block is left, and wait for their last answers."""
    found = Crowd(pictures)
    timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
    connector = aiohttp.TCPConnector(limit=clients)
    async with (
        aiohttp.ClientSession(url, timeout=timeout, connector=connector) as session,
        asyncio.TaskGroup() as posting,
    ):
        for client in range(clients):
            posting.create_task(found.post_in_turn(session, client))
        try:
            yield found
        finally:
            found.end()


async def post(session: aiohttp.ClientSession, picture: bytes) -> Answered:
    """Post one picture, a PNG, and say what became of it."""
    began_s = time.monotonic()
    status, version = NO_ANSWER, ""
    try:
        async with session.post(PATH, data=picture, headers=PNG) as reply:
            document = await reply.json()
            status = f"{reply.status} {reply.headers.get('X-Error-Code', '')}".strip()
            version = document.get("model", {}).get("version", "")
    except (aiohttp.ClientError, TimeoutError):
        pass
    return Answered(began_s, time.monotonic() - began_s, status, version)
