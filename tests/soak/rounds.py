"""The rounds of a soak."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.load.__main__ import wait_until_settled
from tests.load.client import Target, connect
from tests.load.mix import make_kinds
from tests.processes import Served
from tests.soak.clients import PATIENCE_S, Soaking, Tally, let_in
from tests.soak.holdings import Holdings, children_of, holdings_of
from tests.soak.service import TRIMMED
from tests.soak.verdict import Check, Counts, in_all, judge

REST_S = 2.0  # after a round: connections are closed, the last answers read
Say = Callable[[str], None]


class SoakFailed(Exception):
    """The service could not be soaked."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How long it takes.

    Attributes:
        rounds: after each of which is counted what the service holds.
        round_s: the length of one, in seconds.
        death_every: so many rounds an engine dies; a decoder is killed in every one.
    """

    rounds: int
    round_s: float
    death_every: int = 3


@dataclass(slots=True)
class Soak:
    """A soak of one service.

    Args:
        service: ready.
        plan: of the rounds.
        say: is told what goes on.
    """

    service: Served
    plan: Plan
    say: Say
    tallies: list[Tally] = field(default_factory=list)
    samples: list[Holdings] = field(default_factory=list)
    deaths: int = 0
    _trimmed: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    async def run(self) -> list[Check]:
        """Soak the service, end it, and judge."""
        threading.Thread(target=self._listen, daemon=True).start()
        async with connect(self.service.address, PATIENCE_S) as target:
            model = await self._settled(target)
            kinds = make_kinds(model)
            for number in range(self.plan.rounds):
                self.tallies.append(Tally())
                soaking = Soaking(self.service.address, kinds, self.tallies[-1], number)
                is_deadly = number % self.plan.death_every == self.plan.death_every - 1
                async with asyncio.TaskGroup() as group:
                    group.create_task(let_in(soaking, self.plan.round_s))
                    group.create_task(self._harm(soaking, is_deadly=is_deadly))
                self.samples.append(await self._count(target))
                self.say(self._line(number))
            counts = await self._counts(target)
        code = await asyncio.to_thread(self.service.stop)
        return judge(self.tallies, counts, self.samples, code)

    def _listen(self) -> None:
        """Read what it says, or it would stand still once the pipe is full."""
        for line in self.service.process.stdout or []:
            self.service.lines.append(line)
            if TRIMMED in line:
                self._trimmed.release()

    async def _settled(self, target: Target) -> str:
        """Wait for the final engine; return the model's name."""
        await wait_until_settled(target, PATIENCE_S, self.say)
        described = await target.describe()
        self.say(f"the service answers with the engine {described['engine']['name']}")
        name: str = described["name"]
        return name

    async def _harm(self, soaking: Soaking, *, is_deadly: bool) -> None:
        """Kill a decoder, and the engine where it is its round, while clients are inside."""
        await soaking.rest(self.plan.round_s / 2)
        decoders = children_of(self.service.process.pid)
        if decoders:
            os.kill(decoders[0], signal.SIGKILL)
        if is_deadly:
            self.deaths += 1
            self.service.process.send_signal(signal.SIGUSR2)

    async def _count(self, target: Target) -> Holdings:
        """Count once nobody is inside and the connections of the round are closed."""
        await asyncio.sleep(REST_S)
        self.service.process.send_signal(signal.SIGUSR1)
        if not await asyncio.to_thread(self._trimmed.acquire, timeout=PATIENCE_S):
            raise SoakFailed("the service does not answer a signal")
        return holdings_of(self.service.process.pid)

    async def _counts(self, target: Target) -> Counts:
        values: dict[tuple[str, str], float] = {}
        for family in text_string_to_metric_families(await target.read_metrics()):
            for sample in family.samples:
                key = sample.name, sample.labels.get("outcome", "")
                values[key] = values.get(key, 0.0) + sample.value
        name = "sge_requests_total"
        return Counts(
            received=values["sge_requests_received_total", ""],
            outcomes={outcome: n for (metric, outcome), n in values.items() if metric == name},
            permits=values["sge_permits_in_use", ""],
            body_bytes=values["sge_body_bytes_in_use", ""],
            decoded_bytes=values["sge_decoded_bytes_in_use", ""],
        )

    def _line(self, number: int) -> str:
        held, tally = self.samples[-1], in_all(self.tallies)
        return (
            f"round {number + 1}/{self.plan.rounds}: {tally.answered} answers, "
            f"{tally.left} left, {self.deaths} deaths, {len(tally.wrong)} wrong; "
            f"{held.own_mb:.1f} MB, {held.total_mb:.1f} with decoders, {held.threads} threads, "
            f"{held.files} files"
        )


async def soak(service: Served, plan: Plan, say: Say) -> list[Check]:
    """Soak a service that is ready.

    Raises:
        SoakFailed: it does not answer any more.
    """
    try:
        return await Soak(service, plan, say).run()
    except (aiohttp.ClientError, OSError, ExceptionGroup) as error:
        raise SoakFailed(f"the service does not answer: {error}") from error
