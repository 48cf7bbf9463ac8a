"""How long batches take, told from those that have run; and by how much answers take longer."""

from __future__ import annotations

import pytest

from service.serving.batch_policy import Run
from service.serving.run_times import Overrun, RunTimes


def times_of(*runs: tuple[int, float]) -> RunTimes:
    """What is known after runs of so many images and seconds."""
    times = RunTimes()
    for entries, seconds in runs:
        times.add(Run(entries, seconds, 0.0))
    return times


def test_nothing_is_known_before_the_first_run() -> None:
    """Nobody is refused by a guess."""
    assert RunTimes().seconds_for(16, 8) == 0.0


@pytest.mark.parametrize(
    ("images", "seconds"), [(0, 0.0), (1, 0.3), (4, 0.6), (8, 1.0), (9, 1.3), (20, 2.6)]
)
def test_a_batch_takes_a_fixed_part_and_one_for_each_image(images: int, seconds: float) -> None:
    """F = 0.2 s and c = 0.1 s: of 20 images two full batches of eight and one of four."""
    times = times_of((1, 0.3), (4, 0.6), (8, 1.0))

    assert times.seconds_for(images, 8) == pytest.approx(seconds)


def test_a_deadline_that_a_batch_meets_is_not_refused_by_the_pace_of_single_images() -> None:
    """Seen one by one at 20 ms, six images in one batch are expected before 6 x 20 ms."""
    times = times_of((1, 0.02), (1, 0.02))

    assert times.seconds_for(1, 16) == pytest.approx(0.02)
    assert times.seconds_for(6, 16) < 0.1


def test_a_slow_small_batch_makes_no_time_negative() -> None:
    """Whatever a busy machine makes of the runs, more images never take less."""
    times = times_of((1, 0.5), (8, 0.1), (8, 0.1))

    assert 0 < times.seconds_for(1, 8) <= times.seconds_for(8, 8) <= times.seconds_for(9, 8)


def test_another_engine_is_judged_by_its_own_runs() -> None:
    """What the slow one took is forgotten when the fast one takes over."""
    times = times_of((1, 1.0))

    times.clear()

    assert times.seconds_for(1, 8) == 0.0


def test_the_margin_follows_what_answers_took_beyond_their_predictions() -> None:
    """Steadily 50 ms late: the margin comes to about 50 ms; 20 answers on time and it is gone."""
    overrun = Overrun()
    for _ in range(60):
        overrun.learn(0.05)
    late_s = overrun.margin_s
    for _ in range(60):
        overrun.learn(0.0)

    assert late_s == pytest.approx(0.05, rel=0.05)
    assert overrun.margin_s < 0.005


def test_answers_that_come_early_leave_no_margin() -> None:
    """A prediction that was too long is not stretched further."""
    overrun = Overrun()
    for _ in range(60):
        overrun.learn(-0.05)

    assert overrun.margin_s == 0.0
