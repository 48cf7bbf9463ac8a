"""The batch policy, as a table and by properties."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.serving.batch_policy import Decision, Limits, Room, Run, decide

NOW = 100.0
FAR = 200.0


@dataclass(frozen=True, slots=True)
class Entry:
    """A queued entry as the policy sees it."""

    arrived: float = NOW
    deadline: float = FAR
    is_abandoned: bool = False
    priority: int = 2


@pytest.mark.parametrize(
    ("queue", "room", "limits", "decision"),
    [
        pytest.param(
            [], Room.IDLE, Limits(4), Decision(), id="an empty queue needs no second look"
        ),
        pytest.param(
            [Entry()], Room.IDLE, Limits(4), Decision(leave=(0,)), id="one entry does not wait"
        ),
        pytest.param(
            [Entry()] * 5,
            Room.IDLE,
            Limits(4),
            Decision(leave=(0, 1, 2, 3), look_again_at=FAR),
            id="a batch is no larger than allowed",
        ),
        pytest.param(
            [Entry()] * 3,
            Room.SLOT,
            Limits(4),
            Decision(look_again_at=FAR),
            id="a partial batch waits for an idle engine",
        ),
        pytest.param(
            [Entry()] * 4,
            Room.SLOT,
            Limits(4),
            Decision(leave=(0, 1, 2, 3)),
            id="a full batch is stacked behind the running one",
        ),
        pytest.param(
            [Entry()] * 9,
            Room.NONE,
            Limits(4),
            Decision(look_again_at=FAR),
            id="nobody leaves while the slot is taken",
        ),
        pytest.param(
            [Entry(arrived=NOW - 1), Entry()],
            Room.IDLE,
            Limits(4, window_s=3),
            Decision(look_again_at=NOW + 2),
            id="the window starts at the first entry",
        ),
        pytest.param(
            [Entry(arrived=NOW - 3), Entry()],
            Room.IDLE,
            Limits(4, window_s=3),
            Decision(leave=(0, 1)),
            id="everybody leaves at the window's end",
        ),
        pytest.param(
            [Entry()] * 4,
            Room.IDLE,
            Limits(4, window_s=3),
            Decision(leave=(0, 1, 2, 3)),
            id="a full batch does not wait for the window",
        ),
        pytest.param(
            [Entry(deadline=NOW), Entry(is_abandoned=True), Entry()],
            Room.IDLE,
            Limits(4),
            Decision(leave=(2,), expire=(0,), drop=(1,)),
            id="the late and the abandoned do not travel",
        ),
        pytest.param(
            [Entry(deadline=NOW - 1, is_abandoned=True), Entry(NOW, NOW + 1, is_abandoned=True)],
            Room.IDLE,
            Limits(4),
            Decision(expire=(0,), drop=(1,)),
            id="who left at the deadline expired, who left before it is dropped",
        ),
        pytest.param(
            [Entry(deadline=NOW + 5), Entry(deadline=NOW + 2)],
            Room.NONE,
            Limits(4),
            Decision(look_again_at=NOW + 2),
            id="the next deadline sets the alarm",
        ),
        pytest.param(
            [Entry(), Entry(deadline=NOW), Entry(priority=1), Entry(priority=1)],
            Room.IDLE,
            Limits(2),
            Decision(leave=(2, 3), expire=(1,), look_again_at=FAR),
            id="the more important leave first",
        ),
        pytest.param(
            [Entry(priority=3), Entry(priority=1)],
            Room.SLOT,
            Limits(4),
            Decision(look_again_at=FAR),
            id="the most important do not leave in a partial batch either",
        ),
    ],
)
def test_the_policy_decides(
    queue: list[Entry], room: Room, limits: Limits, decision: Decision
) -> None:
    """Each case of the table decides as its name says."""
    assert decide(queue, NOW, room, limits) == decision


LARGE = Run(entries=15, seconds=2.0, ended=NOW)


@pytest.mark.parametrize(
    ("entries", "now", "decision"),
    [
        pytest.param(
            1, NOW, Decision(look_again_at=NOW + 0.1), id="few wait for those just answered"
        ),
        pytest.param(
            7, NOW + 0.05, Decision(look_again_at=NOW + 0.1), id="as long as they are few"
        ),
        pytest.param(8, NOW, Decision(leave=tuple(range(8))), id="half as many do not wait"),
        pytest.param(1, NOW + 0.1, Decision(leave=(0,)), id="nobody waits for long"),
    ],
)
def test_few_wait_a_moment_after_a_large_batch(
    entries: int, now: float, decision: Decision
) -> None:
    """So that clients who post again at once do not travel in batches of 15 and 1 by turns."""
    queue = [Entry()] * entries

    assert decide(queue, now, Room.IDLE, Limits(16), [LARGE]) == decision


def test_the_moment_ends_where_a_deadline_would_be_missed() -> None:
    """What the last run took is left for the next."""
    queue = [Entry(deadline=NOW + 2.04)]

    decision = decide(queue, NOW, Room.IDLE, Limits(16), [Run(1, 1.0, NOW - 3), LARGE])

    assert decision.look_again_at == pytest.approx(NOW + 0.04)


@pytest.mark.parametrize(
    "recent", [[], [Run(1, 2.0, NOW)], [LARGE, Run(2, 2.0, NOW)]], ids=["none", "one", "two"]
)
def test_one_image_after_one_or_two_does_not_wait(recent: list[Run]) -> None:
    """A client who posts image by image never meets the moment."""
    assert decide([Entry()], NOW, Room.IDLE, Limits(16), recent).leave == (0,)


@pytest.mark.parametrize(("slow_runs", "leave"), [(1, (1,)), (16, (0,))])
def test_one_slow_run_puts_nobody_ahead_of_the_more_important(
    slow_runs: int, leave: tuple[int, ...]
) -> None:
    """Only where many were slow is the next one taken to be, and who would be late goes first."""
    queue = [Entry(deadline=NOW + 5.5, priority=3), Entry(priority=1)]
    recent = [Run(1, 4.0, NOW)] * slow_runs + [Run(1, 1.0, NOW - 9)] * 16

    assert decide(queue, NOW, Room.IDLE, Limits(1), recent).leave == leave


def test_an_entry_that_a_quick_run_cannot_save_expires() -> None:
    """An entry leaves for nowhere when even the shortest run would end past its deadline."""
    queue = [Entry(deadline=NOW + 1), Entry(deadline=NOW + 3)]

    decision = decide(queue, NOW, Room.NONE, Limits(4), [Run(1, 2.0, NOW)])

    assert decision == Decision(expire=(0,), look_again_at=NOW + 1)


entries = st.builds(
    Entry,
    arrived=st.floats(NOW - 10, NOW),
    deadline=st.floats(NOW - 5, NOW + 5),
    is_abandoned=st.booleans(),
    priority=st.integers(1, 3),
)
queues = st.lists(entries, max_size=40).map(lambda queue: sorted(queue, key=lambda i: i.arrived))
run = st.builds(Run, st.integers(1, 40), st.floats(0, 30), st.floats(NOW - 10, NOW))
runs = st.lists(run, max_size=3)
limits = st.builds(Limits, max_batch=st.integers(1, 8), window_s=st.sampled_from([0.0, 0.5, 20.0]))


@given(queue=queues, room=st.sampled_from(Room), limits=limits)
def test_every_entry_has_one_fate(queue: list[Entry], room: Room, limits: Limits) -> None:
    """Nobody both leaves and is lost, batches keep the order and the limit."""
    decision = decide(queue, NOW, room, limits)

    fates = [*decision.leave, *decision.expire, *decision.drop]
    assert len(fates) == len(set(fates))
    assert len(decision.leave) <= limits.max_batch
    assert list(decision.leave) == sorted(decision.leave)
    assert set(decision.expire) == {i for i, entry in enumerate(queue) if entry.deadline <= NOW}
    assert all(queue[i].is_abandoned for i in decision.drop)
    assert not any(queue[i].is_abandoned for i in decision.leave)


def test_a_busy_device_refuses_what_it_cannot_come_to_in_time() -> None:
    """Another model's batch runs for 10 s more, and a run of this one takes 2 s at least."""
    queue = [Entry(deadline=NOW + 11), Entry(deadline=NOW + 13)]
    recent = [Run(4, 2.0, NOW)]

    decision = decide(queue, NOW, Room.SLOT, Limits(16), recent, busy_s=10.0)

    assert decision == Decision(expire=(0,), look_again_at=NOW + 1)


@given(queue=queues, limits=limits, recent=runs)
def test_a_queue_in_front_of_an_idle_engine_empties(
    queue: list[Entry], limits: Limits, recent: list[Run]
) -> None:
    """Applied until nothing moves, with time passing at each alarm, the policy strands nobody."""
    now, left = NOW, list(queue)
    while left:
        decision = decide(left, now, Room.IDLE, limits, recent)
        gone = {*decision.leave, *decision.expire, *decision.drop}
        left = [entry for i, entry in enumerate(left) if i not in gone]
        moment = decision.look_again_at
        assert gone or (moment is not None and moment > now)
        now = now if gone or moment is None else moment


@given(queue=queues, room=st.sampled_from(Room), limits=limits)
def test_a_second_look_changes_nothing(queue: list[Entry], room: Room, limits: Limits) -> None:
    """Once the late and the abandoned are gone, the same moment loses nobody else."""
    first = decide(queue, NOW, room, limits)
    gone = {*first.leave, *first.expire, *first.drop}
    rest = [entry for i, entry in enumerate(queue) if i not in gone]

    second = decide(rest, NOW, Room.NONE, limits)

    assert (second.leave, second.expire, second.drop) == ((), (), ())
