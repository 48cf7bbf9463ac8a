"""A sweep: finds out what the service can do, then holds it at rates below and above that."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.load.arrivals import ArrivalKind, plan_arrivals
from tests.load.client import Target
from tests.load.machine import CpuClock
from tests.load.mix import Kind, choose
from tests.load.sender import Answer, send_closed_loop, send_open_loop
from tests.load.service_view import ServiceView
from tests.load.step import Cores, Step, sum_up
from tests.load.verdicts import ClientLimits, Knee, find_knee, require_idle_client

Say = Callable[[str], None]

FRACTIONS = (0.3, 0.6, 0.8, 0.9, 1.0, 1.2)  # of the capacity that the pilot finds
PILOT_KINDS = 1000  # drawn once and repeated
BARELY = 0.02  # rates closer than that to each other are the same


@dataclass(frozen=True, slots=True)
class Plan:
    """How a sweep is done.

    Attributes:
        rates: requests a second; empty: fractions of what a pilot run finds.
        arrivals: kinds of them, each at every rate; the knee is narrowed down for the first.
        step_s: for how long each rate is held.
        deadline_s: within which an answer counts.
        tells_deadline: requests tell the service that deadline, so that it can give up in time.
        held_share: how many have to be answered in time for a rate to count as held.
        refinements: further rates between the highest one held and the lowest one broken.
        pilot_callers: who send in turn to find the capacity.
        pilot_s: for how long.
        seed: of arrivals and kinds.
        limits: of the client.
    """

    rates: tuple[float, ...] = ()
    arrivals: tuple[ArrivalKind, ...] = ("poisson", "constant")
    step_s: float = 8.0
    deadline_s: float = 0.5
    tells_deadline: bool = True
    held_share: float = 0.99
    refinements: int = 2
    pilot_callers: int = 32
    pilot_s: float = 6.0
    seed: int = 1
    limits: ClientLimits = field(default_factory=ClientLimits)


@dataclass(frozen=True, slots=True)
class Sweep:
    """What a sweep found.

    Attributes:
        capacity: answers a second with callers who never pause; None where rates were given.
        steps: every rate, in the order in which they ran.
        knees: by kind of arrivals.
    """

    plan: Plan
    capacity: float | None
    steps: tuple[Step, ...]
    knees: dict[ArrivalKind, Knee]

    def steps_of(self, arrivals: ArrivalKind) -> list[Step]:
        """The steps of one kind of arrivals, by rate."""
        chosen = [step for step in self.steps if step.arrivals == arrivals]
        return sorted(chosen, key=lambda step: step.rate)


class Sweeper:
    """Runs a sweep.

    Args:
        target: the service.
        kinds: what is sent, by weight; one image each.
        cpu_clock: of the client.
        plan: how it is done.
        say: is told of each step as it ends.
    """

    def __init__(
        self, target: Target, kinds: Sequence[Kind], cpu_clock: CpuClock, plan: Plan, say: Say
    ) -> None:
        self._target = target
        self._kinds = kinds
        self._cpu_clock = cpu_clock
        self._plan = plan
        self._say = say
        self._steps: list[Step] = []
        told_s = plan.deadline_s if plan.tells_deadline else None
        self._send = functools.partial(target.send, deadline_s=told_s)

    async def run(self) -> Sweep:
        """Run it all.

        Raises:
            ClientTooSlow: at some rate the client was the bottleneck; the sweep ends there.
        """
        plan = self._plan
        for kind in self._kinds:
            await self._target.send(kind)  # connections, and code that runs for the first time
        capacity = None if plan.rates else await self._pilot()
        rates = plan.rates or tuple(round(share * (capacity or 0.0), 1) for share in FRACTIONS)
        for arrivals in plan.arrivals:
            for rate in rates:
                await self._measure(arrivals, rate)
        for _ in range(plan.refinements):
            await self._refine(plan.arrivals[0])
        knees = {arrivals: self._knee(arrivals) for arrivals in plan.arrivals}
        return Sweep(plan, capacity, tuple(self._steps), knees)

    async def _pilot(self) -> float:
        """Answers a second with callers who never pause."""
        plan = self._plan
        kinds = choose(self._kinds, PILOT_KINDS, plan.seed)
        send = self._target.send
        shots = await send_closed_loop(send, kinds, plan.pilot_callers, plan.pilot_s)
        answered = sum(shot.answer is Answer.OK for shot in shots)
        capacity = answered / max(shot.ended_s for shot in shots)
        if not capacity:
            raise ConnectionError(f"none of {len(shots)} requests was answered ok")
        self._say(f"{plan.pilot_callers} callers who never pause: {capacity:.1f} answers/s")
        return capacity

    async def _measure(self, arrivals: ArrivalKind, rate: float) -> None:
        plan, loop = self._plan, asyncio.get_running_loop()
        seed = plan.seed + len(self._steps)
        due_s = plan_arrivals(arrivals, rate, plan.step_s, seed)
        kinds = choose(self._kinds, len(due_s), seed)
        before = await self._target.read_metrics()
        began, used_before_s = loop.time(), self._cpu_clock()
        shots = await send_open_loop(self._send, kinds, due_s.tolist())
        elapsed_s, used_s = loop.time() - began, self._cpu_clock() - used_before_s
        service = ServiceView.between(before, await self._target.read_metrics())
        step = sum_up(
            shots,
            arrivals,
            plan.step_s,
            plan.deadline_s,
            cores=Cores.of(used_s, service.processor_s, elapsed_s),
            service=service,
        )
        require_idle_client(step, plan.limits)
        self._steps.append(step)
        self._say(
            f"{arrivals:<8} {step.rate:6.1f}/s: {step.share_in_time:6.1%} in time, "
            f"p50 {step.latency.p50_ms:.0f} ms, p99 {step.latency.p99_ms:.0f} ms"
        )

    async def _refine(self, arrivals: ArrivalKind) -> None:
        """Try the rate half-way between the highest one held and the next, if that says more."""
        knee = self._knee(arrivals)
        if knee.held is None or knee.broken is None:
            return
        if knee.broken - knee.held > BARELY * knee.broken:
            await self._measure(arrivals, (knee.held + knee.broken) / 2)

    def _knee(self, arrivals: ArrivalKind) -> Knee:
        steps = [step for step in self._steps if step.arrivals == arrivals]
        return find_knee(steps, self._plan.held_share)
