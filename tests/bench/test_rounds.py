"""Interleaved rounds on a clock that only the contestants move."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from tests.bench.report import Label, Row
from tests.bench.rounds import Contestant, Pace, measure, note_on_rounds, row_of

QUICK, SLOW = Label("quick", "net", "fp32", 1), Label("slow", "net", "fp32", 8)


@dataclass
class Track:
    """A clock, and the order in which contestants moved it."""

    now: float = 0.0
    ran: list[str] = field(default_factory=list)

    def clock(self) -> float:
        """The present moment."""
        return self.now

    def contestant(self, label: Label, seconds: float, first_s: float = 0.0) -> Contestant:
        """One whose runs take as long as told, and the first longer."""

        def run() -> None:
            self.now += seconds + (0 if label.engine in self.ran else first_s)
            self.ran.append(label.engine)

        return Contestant(label, run)


def test_every_contestant_has_its_turn_in_each_round() -> None:
    """Rounds go through all of them, so that a slow minute of the machine hits all alike."""
    track = Track()
    contestants = [track.contestant(QUICK, 1.0), track.contestant(SLOW, 2.0)]

    measure(contestants, Pace(rounds=3, until=0.0), track.clock)

    assert track.ran == ["quick", "slow"] * 3


def test_a_short_run_is_repeated_and_its_first_is_dropped() -> None:
    """The first run of a turn pays for what the contestant before it left behind."""
    track = Track()
    runner = track.contestant(QUICK, 0.125, first_s=0.025)

    (row,) = measure([runner], Pace(rounds=1, until=0.0, turn_s=0.25), track.clock)

    assert (row.label, row.rounds) == (QUICK, (8.0,))
    assert len(track.ran) == 3


def test_a_run_as_long_as_a_turn_is_counted_at_once() -> None:
    """A large batch is not run twice to be counted once."""
    track = Track()
    runner = track.contestant(SLOW, 0.5)

    (row,) = measure([runner], Pace(rounds=2, until=0.0, turn_s=0.25), track.clock)

    assert row.rounds == (16.0, 16.0)
    assert len(track.ran) == 2


@pytest.mark.parametrize(("began", "until", "rounds"), [(0.0, 5.5, 5), (100.0, 5.0, 3)])
def test_rounds_end_before_the_budget_does(began: float, until: float, rounds: int) -> None:
    """As many as end in time, but a budget that building has spent leaves three for a median."""
    track = Track(now=began)
    runner = track.contestant(SLOW, 1.0)

    measure([runner], Pace(None, until), track.clock)

    assert len(track.ran) == rounds


def test_a_row_is_the_median_of_the_rounds() -> None:
    """One disturbed round does not show; how many there were is told."""
    row = row_of(SLOW, (0.5, 4.0, 0.5))

    assert row == Row(SLOW, rounds=(16.0, 2.0, 16.0), ms_p50=500.0)
    assert row.images_per_s == 16.0
    assert note_on_rounds([row]).startswith("median of 3 interleaved rounds")
