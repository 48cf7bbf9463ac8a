"""Steps one after another, whatever becomes of each, and the report on them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

Figure = str | int | float
Figures = dict[str, Figure]
Say = Callable[[str], None]

TOLD = 2000  # characters of what a process wrote before it failed


class Skipped(Exception):
    """A step that does not concern this machine; its text says why."""


class Named(Protocol):
    """What the runner knows of a step."""

    @property
    def name(self) -> str:
        """One word or several, joined by underscores."""

    @property
    def limit_s(self) -> float:
        """After which it counts as hung."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a step.

    Attributes:
        figures: what it measured; of one that failed, nothing.
        reason: why it failed or was skipped.
    """

    name: str
    state: Literal["passed", "failed", "skipped"]
    seconds: float = 0.0
    figures: Mapping[str, Figure] = field(default_factory=dict)
    reason: str = ""


Attempt = Callable[[Named], Outcome]
"""Runs a step and says what became of it; raises nothing."""


def run_all(steps: Sequence[Named], attempt: Attempt, say: Say) -> list[Outcome]:
    """Run every step, also after one that failed.

    Args:
        steps: in the order in which a first run would meet them.
        attempt: runs one.
        say: tells whoever waits of each.
    """
    outcomes = []
    for step in steps:
        say(f"{step.name} ...")
        outcomes.append(attempt(step))
        say(as_text(outcomes[-1]))
    return outcomes


def as_text(outcome: Outcome) -> str:
    """A step's line of the report, and below it its figures or its reason."""
    figures = [f"    {name}: {_short(value)}" for name, value in outcome.figures.items()]
    reason = [f"    {line}" for line in outcome.reason.splitlines()]
    line = f"{outcome.state:8}{outcome.name} ({outcome.seconds:.1f} s)"
    return "\n".join([line, *figures, *reason])


def summary(outcomes: Sequence[Outcome]) -> str:
    """The last line of the report: how many of each, and which failed."""
    states = [outcome.state for outcome in outcomes]
    counts = ", ".join(f"{states.count(s)} {s}" for s in ("passed", "failed", "skipped"))
    failed = [outcome.name for outcome in outcomes if outcome.state == "failed"]
    return f"{counts}: {', '.join(failed)}" if failed else counts


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """0 where no step failed, else 1."""
    return int(any(outcome.state == "failed" for outcome in outcomes))


def _short(value: Figure) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def in_process(command: Sequence[str], clock: Callable[[], float] = time.monotonic) -> Attempt:
    """Run each step in a process of its own.

    Args:
        command: to which the step's name is added; it prints what `tell` says as its last line.
        clock: seconds since some moment.
    """

    def attempt(step: Named) -> Outcome:
        began = clock()
        try:
            ended = subprocess.run(
                [*command, step.name],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=step.limit_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            reason = f"it took longer than {step.limit_s:g} s"
            return Outcome(step.name, "failed", clock() - began, reason=reason)
        return _outcome_of(step.name, ended, clock() - began)

    return attempt


def _outcome_of(name: str, ended: subprocess.CompletedProcess[str], seconds: float) -> Outcome:
    *_, last = ended.stdout.splitlines() or [""]
    if ended.returncode == 0 and last.startswith("{"):
        told = json.loads(last)
        return Outcome(name, told["state"], seconds, told["figures"], told["reason"])
    wrote = (ended.stdout + ended.stderr).strip()[-TOLD:]
    reason = f"its process ended with exit code {ended.returncode}\n{wrote}"
    return Outcome(name, "failed", seconds, reason=reason)


def tell(run: Callable[[Path], Figures], folder: Path) -> int:
    """Run a step in this process, and print its outcome for the one that waits.

    Returns:
        0 where it passed or was skipped. What it raises ends the process, with its traceback.
    """
    try:
        told = {"state": "passed", "figures": run(folder), "reason": ""}
    except Skipped as skip:
        told = {"state": "skipped", "figures": {}, "reason": str(skip)}
    sys.stdout.write(f"\n{json.dumps(told)}\n")
    return 0
