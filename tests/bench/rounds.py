"""Interleaved rounds: every contestant has its turn in each, so that noise meets all alike."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
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


def measure(
    contestants: Sequence[Contestant], pace: Pace, clock: Clock
) -> dict[Label, tuple[float, ...]]:
    """Let the contestants run in turn, round by round.

    Returns:
        Per contestant the seconds of a run, one number a round: the median of its turn.
    """
    seconds: dict[Label, list[float]] = {contestant.label: [] for contestant in contestants}
    done, round_s = 0, 0.0
    while _is_another_due(pace, done, clock() + round_s):
        began = clock()
        for contestant in contestants:
            seconds[contestant.label].append(_turn(contestant.run, pace.turn_s, clock))
        done, round_s = done + 1, clock() - began
    return {label: tuple(values) for label, values in seconds.items()}


def _is_another_due(pace: Pace, done: int, would_end: float) -> bool:
    if pace.rounds is not None:
        return done < pace.rounds
    return done < FEWEST_ROUNDS or (done < MOST_ROUNDS and would_end <= pace.until)


def _turn(run: Callable[[], object], turn_s: float, clock: Clock) -> float:
    """Median of a turn's runs, without the first where that is short."""
    first = _timed(run, clock)
    if first >= turn_s:
        return first
    times: list[float] = []
    while sum(times) < turn_s:
        times.append(_timed(run, clock))
    return statistics.median(times)


def _timed(run: Callable[[], object], clock: Clock) -> float:
    began = clock()
    run()
    return clock() - began


def rows_of(seconds: Mapping[Label, Sequence[float]]) -> tuple[Row, ...]:
    """The table's lines, one a contestant."""
    return tuple(
        Row(
            label,
            rounds=tuple(label.batch / value for value in values),
            ms_p50=1000 * statistics.median(values),
        )
        for label, values in seconds.items()
    )


def spread_note(seconds: Mapping[Label, Sequence[float]]) -> str:
    """How much the rounds differ, so that nobody reads more into a ratio than is there."""
    spreads = [
        (max(values) - min(values)) / statistics.median(values) for values in seconds.values()
    ]
    rounds = max((len(values) for values in seconds.values()), default=0)
    if not spreads:
        return "nothing was measured"
    return (
        f"median of {rounds} interleaved rounds, of ratios too; from its slowest to its fastest "
        f"round a row spreads over {statistics.median(spreads):.0%} of its median, the widest "
        f"over {max(spreads):.0%}"
    )
