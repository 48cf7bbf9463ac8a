"""A stretch of load on schedule, in the midst of which something happens to a replica."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import aiohttp

from tests.load.arrivals import plan_arrivals
from tests.load.mix import Kind
from tests.load.sender import Answer, Sent, Shot, send_open_loop
from tests.replicas.crowd import post

EVENT_AT = 0.2  # of the stretch
OK = "200"
TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Stretch:
    """What became of the requests of one stretch.

    Attributes:
        shots: the requests with their times.
        statuses: how often which was answered, with the error's code.
    """

    shots: Sequence[Shot]
    statuses: Counter[str]

    @property
    def lost(self) -> dict[str, int]:
        """Requests that were not answered with 200, by what became of them."""
        return {status: number for status, number in self.statuses.items() if status != OK}

    def percentile_ms(self, share: float) -> float:
        """The latency below which that share of the answers stayed, from when they were due."""
        times = sorted(shot.latency_s for shot in self.shots)
        return 1000 * times[min(len(times) - 1, int(share * len(times)))]


async def load(
    url: str,
    kinds: Sequence[Kind],
    event: Callable[[], object] | None = None,
    *,
    rate: float,
    duration_s: float,
    seed: int = 1,
) -> Stretch:
    """Send requests at moments fixed beforehand, and have something happen meanwhile.

    Args:
        url: of the balancer, or of a replica.
        kinds: are sent in turn.
        event: what happens, on a thread of its own.
        rate: requests in a second.
        duration_s: how long.
        seed: of the moments.
    """
    due_s = plan_arrivals("poisson", rate, duration_s, seed)
    sent = list(itertools.islice(itertools.cycle(kinds), len(due_s)))
    statuses: Counter[str] = Counter()
    async with (
        aiohttp.ClientSession(
            url,
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
            connector=aiohttp.TCPConnector(limit=0),
        ) as session,
        asyncio.TaskGroup() as group,
    ):

        async def send(kind: Kind) -> Sent:
            answered = await post(session, kind.body)
            statuses[answered.status] += 1
            is_ok = answered.status == OK
            return Sent(Answer.OK if is_ok else Answer.FAILED, answered.began_s)

        if event is not None:
            group.create_task(_later(EVENT_AT * duration_s, event))
        shots = await send_open_loop(send, sent, due_s.tolist())
    return Stretch(shots, statuses)


async def _later(seconds: float, event: Callable[[], object]) -> None:
    await asyncio.sleep(seconds)
    await asyncio.to_thread(event)
