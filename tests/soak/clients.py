"""Clients of every kind: good ones, and such as send nonsense, are slow, or leave."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import aiohttp

from tests.load.mix import Kind

NO_ANSWER = 0
PATIENCE_S = 120.0  # only against hanging
PIECES = 5  # in which a slow client sends a body
PAUSE_S = 0.5
TOO_MANY = frozenset({429, 503, 504})
DIED = b"the engine crashed"  # in an answer with 500


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: a status and a body, whole or not; or nothing."""

    status: int = NO_ANSWER
    body: bytes = b""
    is_whole: bool = True

    @property
    def is_excusable(self) -> bool:
        """Whether it says that an engine died, or that too many came."""
        return self.status in TOO_MANY or (self.status == 500 and DIED in self.body)


@dataclass(slots=True)
class Tally:
    """What clients sent and what became of it.

    Attributes:
        sent: requests by client.
        answers: answers by client and status; `NO_ANSWER` where a connection broke.
        right: answers that are what the kind of request asks for, by kind.
        wrong: those that should not have come.
        left: requests whose clients left before the answer.
    """

    sent: Counter[str] = field(default_factory=Counter)
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    left: int = 0

    def note(self, client: str, kind: Kind, answer: Answer) -> None:
        """Note the one answer to a request."""
        self.answers[client, answer.status] += 1
        is_right = answer.status == kind.status and answer.is_whole
        self.right[kind.name] += is_right
        if not (is_right or answer.is_excusable):
            self.wrong.append(f"{client}: {kind.name} had {answer.status or 'no answer'}")

    @property
    def answered(self) -> int:
        """How many requests had an answer of HTTP."""
        return sum(n for (_, status), n in self.answers.items() if status != NO_ANSWER)


Client = Callable[["Soaking"], Coroutine[None, None, None]]


class Soaking:
    """What the clients of one round share.

    Args:
        url: of the service.
        kinds: of requests.
        tally: of what is sent.
        seed: of the round; the same one has the same requests.
    """

    def __init__(self, url: str, kinds: Sequence[Kind], tally: Tally, seed: int) -> None:
        self.url = url
        self.tally = tally
        self.is_over = asyncio.Event()
        self._kinds = kinds
        self._dice = random.Random(seed)  # noqa: S311 - no secret

    def draw(self) -> Kind:
        """Draw a request."""
        return self._dice.choices(self._kinds, [kind.weight for kind in self._kinds])[0]

    async def rest(self, seconds: float) -> None:
        """Do nothing for about so long, or until the round is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds * self._dice.uniform(0.5, 1.5)):
                await self.is_over.wait()


async def post_in_turn(soaking: Soaking) -> None:
    """Post one request after the other: pictures, masks, forms, broken files, both protocols."""
    timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
    async with aiohttp.ClientSession(soaking.url, timeout=timeout) as session:
        while not soaking.is_over.is_set():
            kind = soaking.draw()
            soaking.tally.sent["in turn"] += 1
            try:
                async with session.post(kind.path, data=kind.body, headers=kind.headers) as reply:
                    answer = Answer(reply.status, await reply.read())
            except (aiohttp.ClientError, TimeoutError):
                answer = Answer()
            soaking.tally.note("in turn", kind, answer)
            if answer.is_excusable:
                await soaking.rest(PAUSE_S)


async def send_slowly(soaking: Soaking) -> None:
    """Send each body in pieces, with pauses between them."""
    while not soaking.is_over.is_set():
        kind = soaking.draw()
        await _converse(soaking, kind, Manners("slow to send", PIECES, PAUSE_S))


async def read_slowly(soaking: Soaking) -> None:
    """Look at each answer only a while after it has come."""
    while not soaking.is_over.is_set():
        kind = soaking.draw()
        await _converse(soaking, kind, Manners("slow to read", read_after_s=4 * PAUSE_S))


async def leave(soaking: Soaking) -> None:
    """Hang up at every moment: within the head, within the body, before the answer."""
    for moment in itertools.cycle(range(4)):
        if soaking.is_over.is_set():
            return
        kind = soaking.draw()
        soaking.tally.sent["leaving"] += 1
        soaking.tally.left += 1
        whole = _head(kind) + kind.body
        ends = [20, len(_head(kind)), len(_head(kind)) + len(kind.body) // 2, len(whole)]
        _, writer = await _open(soaking)
        writer.write(whole[: ends[moment]])
        await _unless_broken(writer.drain())
        await soaking.rest(0.02)
        writer.transport.abort()
        await soaking.rest(0.1)


@dataclass(frozen=True, slots=True)
class Manners:
    """How a client sends a body and reads an answer.

    Attributes:
        client: its name.
        pieces: in which it sends a body.
        pause_s: after each of them.
        read_after_s: when it begins to read.
    """

    client: str
    pieces: int = 1
    pause_s: float = 0.0
    read_after_s: float = 0.0


async def _converse(soaking: Soaking, kind: Kind, manners: Manners) -> None:
    """Send one request over a connection of its own, and note its answer."""
    soaking.tally.sent[manners.client] += 1
    reader, writer = await _open(soaking)
    answer = Answer()
    try:
        async with asyncio.timeout(PATIENCE_S):
            writer.write(_head(kind))
            step = max(1, -(-len(kind.body) // manners.pieces))
            for start in range(0, len(kind.body), step):
                writer.write(kind.body[start : start + step])
                await _unless_broken(writer.drain())
                await asyncio.sleep(manners.pause_s)
            await asyncio.sleep(manners.read_after_s)
            answer = await _read_answer(reader)
    except (OSError, EOFError, TimeoutError):
        pass
    finally:
        writer.close()
    soaking.tally.note(manners.client, kind, answer)


async def _read_answer(reader: asyncio.StreamReader) -> Answer:
    """Read an answer whole; the connection is closed after it, as it is asked to."""
    head = await reader.readuntil(b"\r\n\r\n")
    body = await reader.read()
    length = re.search(rb"^content-length: *(\d+)", head, re.IGNORECASE | re.MULTILINE)
    is_whole = length is not None and len(body) == int(length[1])
    return Answer(int(head.split()[1]), body, is_whole)


async def _unless_broken(writing: Awaitable[None]) -> None:
    """A service that answers before a body is whole need not read the rest."""
    with contextlib.suppress(OSError):
        await writing


async def _open(soaking: Soaking) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(soaking.url)
    return await asyncio.open_connection(parts.hostname, parts.port)


def _head(kind: Kind) -> bytes:
    headers = kind.headers | {
        "Host": "soak",
        "Connection": "close",
        "Content-Length": str(len(kind.body)),
    }
    lines = [f"POST {kind.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


CROWD: tuple[tuple[Client, int], ...] = (
    (post_in_turn, 6),
    (send_slowly, 6),
    (read_slowly, 4),
    (leave, 4),
)


async def let_in(soaking: Soaking, seconds: float) -> None:
    """Let everybody in for so long, and wait until each has the answer to its last request."""
    async with asyncio.TaskGroup() as crowd:
        for client, count in CROWD:
            for _ in range(count):
                crowd.create_task(client(soaking))
        await asyncio.sleep(seconds)
        soaking.is_over.set()
