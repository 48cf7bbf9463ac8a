"""Interleaved rounds on a clock that only the contestants move."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.bench.report import Label, Row
from tests.bench.rounds import Contestant, Pace, measure, rows_of, spread_note

QUICK, SLOW = Label("quick", "net", "fp32", 1), Label("slow", "net", "fp32", 8)


@dataclass
class Track:
    """A clock, and the order in which contestants moved it."""

    now: float = 0.0
    ran: list[str] = field(default_factory=list)

    def clock(self) -> float:
        """The present moment."""
        return self.now

    def contestant(self, label: Label, takes: Callable[[int], float]) -> Contestant:
        """One whose n-th run takes as long as told."""

        def run() -> None:
            self.now += takes(self.ran.count(label.engine))
            self.ran.append(label.engine)

        return Contestant(label, run)


def test_every_contestant_has_its_turn_in_each_round() -> None:
    """Rounds go through all of them, so that a slow minute of the machine hits all alike."""
    track = Track()
    contestants = [
        track.contestant(QUICK, lambda _: 1.0),
        track.contestant(SLOW, lambda _: 2.0),
    ]

    measure(contestants, Pace(rounds=3, until=0.0), track.clock)

    assert track.ran == ["quick", "slow"] * 3


def test_a_short_run_is_repeated_and_its_first_is_dropped() -> None:
    """The first run of a turn pays for what the contestant before it left behind."""
    track = Track()
    runner = track.contestant(QUICK, lambda number: 0.15 if number == 0 else 0.125)

    seconds = measure([runner], Pace(rounds=1, until=0.0, turn_s=0.25), track.clock)

    assert seconds == {QUICK: (0.125,)}
    assert len(track.ran) == 3


def test_a_run_as_long_as_a_turn_is_counted_at_once() -> None:
    """A large batch is not run twice to be counted once."""
    track = Track()
    runner = track.contestant(SLOW, lambda _: 0.5)

    seconds = measure([runner], Pace(rounds=2, until=0.0, turn_s=0.25), track.clock)

    assert seconds == {SLOW: (0.5, 0.5)}
    assert len(track.ran) == 2


def test_rounds_end_before_the_budget_does() -> None:
    """Without a number of rounds, as many are taken as end in time."""
    track = Track()
    runner = track.contestant(SLOW, lambda _: 1.0)

    measure([runner], Pace(rounds=None, until=5.5), track.clock)

    assert len(track.ran) == 5


def test_a_median_has_three_rounds_whatever_they_cost() -> None:
    """A budget that building has spent already does not leave a single round."""
    track = Track(now=100.0)
    runner = track.contestant(SLOW, lambda _: 1.0)

    measure([runner], Pace(rounds=None, until=5.0), track.clock)

    assert len(track.ran) == 3


def test_a_row_is_the_median_of_the_rounds() -> None:
    """One disturbed round does not show."""
    rows = rows_of({SLOW: (0.5, 4.0, 0.5)})

    assert rows == (Row(SLOW, rounds=(16.0, 2.0, 16.0), ms_p50=500.0),)
    assert rows[0].images_per_s == 16.0


def test_the_spread_is_told() -> None:
    """A reader learns how much of a ratio may be noise."""
    note = spread_note({QUICK: (1.0, 1.1, 1.0), SLOW: (2.0, 2.0, 3.0)})

    assert note.startswith("median of 3 interleaved rounds")
    assert "30% of its median, the widest over 50%" in note
