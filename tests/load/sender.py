"""Sending: in open loop, at planned moments whatever the service does; in closed loop, in turn."""

from __future__ import annotations

import asyncio
import enum
import itertools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from tests.load.mix import Kind


class Answer(enum.StrEnum):
    """What became of a request."""

    OK = "ok"  # the status that its kind asks for
    REFUSED = "refused"  # 429 or 503: the service said at once that it has no room
    EXPIRED = "expired"  # 504: the service gave it up because of its deadline
    TIMED_OUT = "timed out"  # the client gave it up
    FAILED = "failed"  # any other status, or a broken connection


@dataclass(frozen=True, slots=True)
class Sent:
    """A request that was sent and answered, or given up.

    Attributes:
        answer: what became of it.
        left_s: when it began to leave the client, on the clock of the running loop.
        connecting_s: how long it took before that to open a connection, where it needed one.
    """

    answer: Answer
    left_s: float
    connecting_s: float = 0.0


Send = Callable[[Kind], Awaitable[Sent]]


@dataclass(frozen=True, slots=True)
class Shot:
    """One request; moments in seconds after the start of its run.

    Attributes:
        intended_s: when it was due.
        sent_s: when it began to leave the client.
        connecting_s: seconds before that which the way to the service took, not the client.
        ended_s: when its answer was complete, or was given up.
    """

    kind: Kind
    intended_s: float
    sent_s: float
    ended_s: float
    answer: Answer
    connecting_s: float = 0.0

    @property
    def latency_s(self) -> float:
        """What the caller waited, counted from the moment at which it was due."""
        return self.ended_s - self.intended_s

    @property
    def service_s(self) -> float:
        """The part of it that the client is not to blame for: from sending on."""
        return self.ended_s - self.sent_s

    @property
    def lateness_s(self) -> float:
        """The part of it that is the client's own fault."""
        return self.sent_s - self.connecting_s - self.intended_s


async def send_open_loop(send: Send, kinds: Sequence[Kind], due_s: Sequence[float]) -> list[Shot]:
    """Send each request at its moment, however many are still without an answer.

    Nothing here waits for the service before it sends: a service that stands still is met by all
    the requests that were due meanwhile, and each of them counts its whole wait.

    Args:
        send: sends one request and waits for its answer.
        kinds: what is sent.
        due_s: when, in seconds after the start, ascending; as many as `kinds`.
    """
    loop = asyncio.get_running_loop()
    start = loop.time()

    async def shoot(kind: Kind, intended_s: float) -> Shot:
        sent = await send(kind)
        return _shot(kind, intended_s, sent, start, loop.time())

    under_way: list[asyncio.Task[Shot]] = []
    async with asyncio.TaskGroup() as group:
        for kind, intended_s in zip(kinds, due_s, strict=True):
            await asyncio.sleep(max(0.0, start + intended_s - loop.time()))
            under_way.append(group.create_task(shoot(kind, intended_s)))
    return [shot.result() for shot in under_way]


async def send_closed_loop(
    send: Send, kinds: Sequence[Kind], callers: int, duration_s: float
) -> list[Shot]:
    """Let callers send in turn, each its next request when it has its answer.

    Its latencies excuse a service that stands still, so they are for finding its capacity only.
    """
    loop = asyncio.get_running_loop()
    start = loop.time()
    shots: list[Shot] = []

    async def call(supply: Iterator[Kind]) -> None:
        while (due_s := loop.time() - start) < duration_s:
            kind = next(supply)
            sent = await send(kind)
            shots.append(_shot(kind, due_s, sent, start, loop.time()))

    supply = itertools.cycle(kinds)
    await asyncio.gather(*(call(supply) for _ in range(callers)))
    return shots


def _shot(kind: Kind, intended_s: float, sent: Sent, start: float, now: float) -> Shot:
    return Shot(kind, intended_s, sent.left_s - start, now - start, sent.answer, sent.connecting_s)
