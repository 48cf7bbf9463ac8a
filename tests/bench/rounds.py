"""Interleaved rounds: every contestant has its turn in each, so that noise meets all alike."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.bench.report import Label, Row

Clock = Callable[[], float]
"""Seconds since some moment; `time.perf_counter` in earnest."""

FEWEST_ROUNDS = 3  # a median of less hides nothing
MOST_ROUNDS = 15
TURN_S = 0.2  # a run this long drowns the caches and threads that the one before left behind


@dataclass(frozen=True, slots=True)
class Contestant:
    """What is measured: `run` takes one batch through and waits for the result."""

    label: Label
    run: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Pace:
    """How long to measure.

    Attributes:
        rounds: exactly as many; None takes as many as end before `until`, within `FEWEST_ROUNDS`
            and `MOST_ROUNDS`.
        until: a moment of the clock.
        turn_s: short runs are repeated for as long.
    """

    rounds: int | None
    until: float
    turn_s: float = TURN_S

    def is_another_due(self, done: int, would_end: float) -> bool:
        """Whether one more round is to be run, after some that are done."""
        if self.rounds is not None:
            return done < self.rounds
        return done < FEWEST_ROUNDS or (done < MOST_ROUNDS and would_end <= self.until)


def measure(contestants: Sequence[Contestant], pace: Pace, clock: Clock) -> tuple[Row, ...]:
    """Let the contestants run in turn, round by round; a round's time is the median of a turn."""
    seconds: list[list[float]] = [[] for _ in contestants]
    done, round_s = 0, 0.0
    while pace.is_another_due(done, clock() + round_s):
        began = clock()
        for contestant, times in zip(contestants, seconds, strict=True):
            times.append(_turn(contestant.run, pace.turn_s, clock))
        done, round_s = done + 1, clock() - began
    return tuple(
        row_of(contestant.label, times)
        for contestant, times in zip(contestants, seconds, strict=True)
    )


def row_of(label: Label, seconds: Sequence[float]) -> Row:
    """The line of what took so long, one number a round."""
    rates = tuple(label.batch / value for value in seconds)
    return Row(label, rates, ms_p50=1000 * statistics.median(seconds))


def _turn(run: Callable[[], object], turn_s: float, clock: Clock) -> float:
    """Median of a turn's runs, without the first where that is short."""
    first = timed(run, clock)
    if first >= turn_s:
        return first
    times: list[float] = []
    while sum(times) < turn_s:
        times.append(timed(run, clock))
    return statistics.median(times)


def timed(run: Callable[[], object], clock: Clock) -> float:
    """Run once and say how many seconds it took."""
    began = clock()
    run()
    return clock() - began


def note_on_rounds(rows: Sequence[Row]) -> str:
    """What the columns of a table of rows mean."""
    rounds = max((len(row.rounds) for row in rows), default=0)
    return (
        f"median of {rounds} interleaved rounds, of ratios too; `rounds` are the lowest and the "
        "highest of them"
    )
