"""How long batches take, told from those that have run; and by how much answers take longer."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.serving.batch_policy import Run
from service.serving.run_times import AnswerTimes, RunTimes


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


def learned(*answers: tuple[float, float]) -> AnswerTimes:
    """What is known after so many answers, each predicted to take so long and taking so long."""
    times = AnswerTimes()
    for predicted_s, took_s in answers:
        times.learn(predicted_s, took_s)
    return times


def test_without_an_answer_predictions_are_believed() -> None:
    """Nobody is refused by a guess."""
    assert AnswerTimes().within_s(0.3) == 0.3


def test_what_answers_take_beyond_their_predictions_is_added() -> None:
    """Steadily 50 ms late, that is what to expect; 200 answers on time and it is gone."""
    late, late_before = [(0.1, 0.15)] * 60, [(0.1, 0.15)] * 60 + [(0.1, 0.1)] * 200

    assert learned(*late).within_s(0.1) == pytest.approx(0.15, rel=0.05)
    assert learned(*late_before).within_s(0.1) == pytest.approx(0.1, rel=0.05)


def test_answers_that_come_early_shorten_no_prediction() -> None:
    """A prediction that was too long is not stretched, and none is undercut."""
    assert learned(*[(0.2, 0.1)] * 60).within_s(0.2) == 0.2


def test_what_grows_with_the_work_inside_is_told_from_what_does_not() -> None:
    """20 ms and as much again as predicted: 60 ms behind 20 ms of work, 620 behind 300."""
    times = learned(*[(0.02, 0.06), (0.3, 0.62), (0.15, 0.32)] * 40)

    assert times.within_s(0.02) == pytest.approx(0.06, rel=0.2)
    assert times.within_s(0.3) == pytest.approx(0.62, rel=0.1)


def test_long_waits_under_load_do_not_refuse_those_who_come_when_it_is_over() -> None:
    """Answers took up to twice a long prediction: short ones are still believed."""
    waits = np.random.default_rng(5).uniform((0.3, 1), (1.2, 2), (200, 2)).tolist()
    times = learned(*[(predicted_s, predicted_s * longer) for predicted_s, longer in waits])

    assert times.within_s(0.02) < 0.2
    assert times.within_s(1.0) > 1.5


@pytest.mark.parametrize("predicted_s", [0.0, 0.02, 0.5, 10.0])
@given(answers=st.lists(st.tuples(st.floats(0, 60), st.floats(0, 60)), max_size=50))
def test_no_answers_make_an_expectation_that_is_none(
    predicted_s: float, answers: list[tuple[float, float]]
) -> None:
    """Whatever was learned, it is a number, and never below what was predicted."""
    within_s = learned(*answers).within_s(predicted_s)

    assert math.isfinite(within_s)
    assert within_s >= predicted_s
