"""What is reported of a load test: one record, as a document and in sentences."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.load.machine import REAL_TIME
from tests.load.sizing import Advice, BatchCost, advise
from tests.load.step import Step
from tests.load.sweep import Sweep
from tests.load.users import Crowd
from tests.load.verdicts import MEAN, TOLERANCE, compare

AROUND = ("decode", "postprocess")  # phases beside the queue and the engine


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a load test found.

    Attributes:
        url: of the service.
        machine: that the client ran on.
        model: what the service said of its model before the test.
        model_after: the same after it; another engine then means that the figures are mixed.
        kinds: what the sweep sent, and how often.
        crowd: what closed-loop users saw; None where there were none.
        sweep: the open-loop part; None where it was left out.
    """

    url: str
    machine: dict[str, str | int]
    model: dict[str, Any]
    model_after: dict[str, Any]
    kinds: dict[str, int]
    crowd: Crowd | None
    sweep: Sweep | None

    @property
    def cost(self) -> BatchCost | None:
        """What a batch costs, from every step of the sweep."""
        return BatchCost.fit(self.sweep.steps) if self.sweep else None

    @property
    def advice(self) -> Advice | None:
        """Settings under which whoever is let in is answered within the sweep's deadline."""
        if self.sweep is None or self.cost is None:
            return None
        return advise(self.cost, around_ms(self.sweep.steps), self.sweep.plan.deadline_s * 1000)

    def document(self) -> dict[str, Any]:
        """The record as JSON can hold it."""
        found = dataclasses.asdict(self)
        if self.sweep:
            found["sweep"]["knees"] = {
                kind: dataclasses.asdict(knee) for kind, knee in self.sweep.knees.items()
            }
            for step, record in zip(self.sweep.steps, found["sweep"]["steps"], strict=True):
                record["goodput"] = step.goodput
                record["share_in_time"] = step.share_in_time
                record["answered_rate"] = step.answered_rate
                record["agreement"] = [
                    {**dataclasses.asdict(row), "agrees": row.agrees} for row in compare(step)
                ]
        found["batch_cost"] = dataclasses.asdict(self.cost) if self.cost else None
        found["advice"] = dataclasses.asdict(self.advice) if self.advice else None
        return found

    def notes(self) -> list[str]:
        """Sentences: the engine, the knee, the agreement with the service, and the sizing."""
        engine, after = self.model["engine"], self.model_after["engine"]
        found = [f"{self.model['name']} {self.model['version']} on {_engine(engine)}"]
        if after != engine:
            found.append(f"THE ENGINE CHANGED meanwhile, to {_engine(after)}: measure again")
        if self.sweep:
            found += _knee_notes(self.sweep)
            found += agreement_notes(self.sweep.steps)
            found += [means_note(self.sweep.steps), connections_note(self.sweep.steps)]
            found.append(self._precedence_note())
        return found + self._sizing_notes()

    def _precedence_note(self) -> str:
        if self.machine["scheduling"] == REAL_TIME:
            return "the client went before other processes of its machine, in real time"
        return "the client had no precedence on its machine: root could give it one"

    def _sizing_notes(self) -> list[str]:
        if self.sweep is None or self.cost is None:
            return []
        cost, target = self.cost, f"{self.sweep.plan.deadline_s * 1000:g} ms"
        found = [f"a batch of b images takes {cost.fixed_ms:.1f} + {cost.per_image_ms:.1f} b ms"]
        if self.advice is None:
            return [*found, f"no limits keep {target}"]
        return [
            *found,
            (
                f"limits that keep {target}: SGE_MAX_BATCH={self.advice.max_batch} "
                f"SGE_MAX_IN_FLIGHT={self.advice.max_in_flight}"
            ),
        ]


def around_ms(steps: Sequence[Step]) -> float:
    """What a request takes outside of queue and engine, as the quickest step shows it."""
    return min(
        (
            sum(step.service.phases[phase].mean * 1000 for phase in AROUND)
            for step in steps
            if step.service.phases["total"].count
        ),
        default=0.0,
    )


def _knee_notes(sweep: Sweep) -> list[str]:
    share, deadline_ms = sweep.plan.held_share, sweep.plan.deadline_s * 1000
    return [
        f"knee, {kind} arrivals ({share:.0%} answered within {deadline_ms:g} ms): {knee}"
        for kind, knee in sweep.knees.items()
    ]


def agreement_notes(steps: Sequence[Step]) -> list[str]:
    """One line per figure that client and service measured differently, or one that says none."""
    apart = [
        f"DISAGREES at {step.rate:.1f}/s ({step.arrivals}): {row.name} {row.client:.1f} by the "
        f"client, {span(row.service_low, row.service_high)} by the service ({row.difference:+.1%})"
        for step in steps
        for row in compare(step)
        if not row.agrees
    ]
    return apart or [f"client and service agree within {TOLERANCE:.0%} on every figure"]


def means_note(steps: Sequence[Step]) -> str:
    """How far apart the mean times are, which both sides know exactly."""
    apart = [row.difference for step in steps for row in compare(step) if row.name == MEAN]
    low, high = min(apart), max(apart)
    return f"the client's mean times are {low:+z.1%} to {high:+z.1%} off the service's"


def connections_note(steps: Sequence[Step]) -> str:
    """How often and how long the way to the service was opened, which is nobody's lateness."""
    opened = sum(step.connecting.count for step in steps)
    longest_ms = max((step.connecting.max_ms for step in steps), default=0.0)
    return f"{opened} requests opened a connection, in at most {longest_ms:.1f} ms"


def span(low: float, high: float) -> str:
    """A figure, or the bounds between which it lies."""
    return f"{low:.1f}" if low == high else f"{low:.1f} to {high:.1f}"


def _engine(engine: dict[str, Any]) -> str:
    return f"{engine['name']} ({engine['precision']}, {engine['device']}, tier {engine['tier']})"
