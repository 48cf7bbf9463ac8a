"""Whose turn it is where not all can leave: as a table, and by properties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.serving.turns import choose_in_turn

NOW = 100.0
FAR = 200.0


@dataclass(frozen=True, slots=True)
class Entry:
    """A queued entry as it is seen here."""

    priority: int = 2
    deadline: float = FAR


@pytest.mark.parametrize(
    ("queue", "leave"),
    [
        pytest.param([Entry()] * 3, [0, 1], id="who came first"),
        pytest.param([Entry(2), Entry(3), Entry(1), Entry(1)], [2, 3], id="the most important"),
        pytest.param(
            [Entry(3), Entry(2), Entry(2), Entry(3)], [1, 2], id="each class before the next"
        ),
        pytest.param([Entry(3), Entry(1), Entry(3)], [0, 1], id="the oldest of the next class"),
        pytest.param([Entry(3), Entry(1)], [0, 1], id="everybody, where all can leave"),
        pytest.param(
            [Entry(3, NOW + 1.5), Entry(1), Entry(1)],
            [0, 1],
            id="first who would come too late with the batch after",
        ),
        pytest.param(
            [Entry(3, NOW + 2), Entry(1), Entry(1)], [1, 2], id="but not who is in time with that"
        ),
        pytest.param(
            [Entry(3, NOW + 2.5)] * 4 + [Entry(1)] * 2,
            [0, 1],
            id="those who fill every batch until their deadline",
        ),
        pytest.param(
            [Entry(3, NOW + 0.5), Entry(2), Entry(1), Entry(1)],
            [2, 3],
            id="not who is too late already",
        ),
        pytest.param(
            [Entry(3, NOW + 1.5), Entry(3, NOW + 1.5), Entry(1, NOW + 1.5), Entry(2)],
            [0, 2],
            id="of more than can make it, the more important and the older",
        ),
    ],
)
def test_a_batch_of_two_has(queue: list[Entry], leave: list[int]) -> None:
    """Each case of the table, with runs of one second, leaves as its name says."""
    assert choose_in_turn(queue, 2, NOW, 2, 1.0) == leave


def test_before_the_first_run_the_class_alone_counts() -> None:
    """Nothing is known of how long a batch takes."""
    queue = [Entry(3, NOW + 0.01), Entry(1), Entry(1)]

    assert choose_in_turn(queue, 2, NOW, 2, 0.0) == [1, 2]


entries = st.builds(Entry, st.integers(1, 3), st.floats(NOW - 1, NOW + 12))
queues = st.lists(entries, max_size=30)


@given(queue=queues, places=st.integers(0, 8), run_s=st.floats(0, 3))
def test_every_place_is_taken_once(queue: list[Entry], places: int, run_s: float) -> None:
    """As many leave as can, in the queue's order."""
    leave = choose_in_turn(queue, places, NOW, 8, run_s)

    assert leave == sorted(set(leave))
    assert len(leave) == min(places, len(queue))


@given(queue=queues, places=st.integers(1, 8))
def test_with_time_to_spare_the_classes_go_in_order(queue: list[Entry], places: int) -> None:
    """Nobody less important leaves while someone more important stays, nor who came later."""
    queue = [Entry(entry.priority) for entry in queue]

    leave = set(choose_in_turn(queue, places, NOW, places, 0.5))

    order = [(entry.priority, i) for i, entry in enumerate(queue)]
    left = [rank for i, rank in enumerate(order) if i in leave]
    stayed = [rank for i, rank in enumerate(order) if i not in leave]
    assert not left or not stayed or max(left) < min(stayed)


@given(queue=queues, max_batch=st.integers(1, 4))
def test_importance_makes_nobody_late_who_could_be_in_time(
    queue: list[Entry], max_batch: int
) -> None:
    """As many as possible make their deadlines, if no deadline is missed in the order of those."""
    in_time = _keep_feasible(queue, max_batch)

    ends = _run(in_time, max_batch)

    assert all(end <= entry.deadline for entry, end in ends)


def _run(queue: Sequence[Entry], max_batch: int) -> list[tuple[Entry, float]]:
    """Run batches of a second until the queue is empty; every entry, and when its batch ends."""
    left, ends, now = list(queue), [], NOW
    while left:
        leave = choose_in_turn(left, max_batch, now, max_batch, 1.0)
        now += 1.0
        ends += [(left[i], now) for i in leave]
        left = [entry for i, entry in enumerate(left) if i not in set(leave)]
    return ends


def _keep_feasible(queue: Sequence[Entry], max_batch: int) -> list[Entry]:
    """Those of a queue who all make it in the order of deadlines, as admission lets them in."""
    let_in: list[Entry] = []
    for entry in queue:
        trial = sorted([*let_in, entry], key=lambda e: e.deadline)
        if all(NOW + rank // max_batch + 1 <= e.deadline for rank, e in enumerate(trial)):
            let_in.append(entry)
    return let_in


@given(
    low=st.integers(1, 6),
    deadline=st.integers(8, 20),
    later=st.lists(st.integers(0, 3), max_size=30),
)
def test_the_lowest_class_waits_no_longer_than_its_deadline(
    low: int, deadline: int, later: list[int]
) -> None:
    """However many more important ones come later, whoever has waited so long is answered."""
    waiting = [Entry(3, NOW + deadline)] * low
    now = NOW

    for newcomers in [*later, *[3] * 30]:  # for ever more than a batch takes
        waiting += [Entry(1, now + 60)] * (newcomers + 1)
        leave = set(choose_in_turn(waiting, 2, now, 2, 1.0))
        now += 1.0
        for i in leave:
            assert waiting[i].priority == 1 or now <= waiting[i].deadline
        waiting = [entry for i, entry in enumerate(waiting) if i not in leave]

    assert all(entry.priority == 1 for entry in waiting)
