"""The bench of spans: its table, and its measure of a process."""

from __future__ import annotations

import os
import time

from tests.bench.traces import Candidate, row_of


def test_a_row_has_the_ratios_round_by_round() -> None:
    """A round that was slow for both says nothing of either."""
    row = row_of("tensor", "all sampled", [20.0, 40.0, 80.0], [10.0, 20.0, 40.0])

    assert row == "| tensor | all sampled | 40 | 2.000 (2.000 to 2.000) |"


def test_the_time_of_a_process_is_that_of_its_threads() -> None:
    """To well under a millisecond; it never goes back."""
    this = Candidate("this", "", os.getpid())

    before = this.seconds()
    until = time.process_time() + 0.01
    while time.process_time() < until:
        pass

    assert this.seconds() - before >= 0.009
