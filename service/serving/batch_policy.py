"""Which entries of the queue leave now: a pure function of the queue and the time."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from service.serving.turns import InTurn, choose_in_turn

LONG_RUN = 0.9  # of the recent runs are no longer than what the next are expected to take
PAUSE = 0.05  # of a run: how long a small batch may wait for those who were just answered


class Room(enum.Enum):
    """What the device can take."""

    IDLE = "idle"  # it runs nothing: whatever has come may leave
    SLOT = "slot"  # it runs a batch, and one more may wait stacked behind it
    NONE = "none"  # a batch runs and the next one is stacked already


@dataclass(frozen=True, slots=True)
class Limits:
    """What an operator decided.

    Attributes:
        max_batch: entries in the largest batch.
        window_s: how long the first entry waits for others; 0 means it never does.
    """

    max_batch: int
    window_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Run:
    """What the engine did last.

    Attributes:
        entries: in the batch.
        seconds: how long it ran.
        ended: when it was answered.
    """

    entries: int
    seconds: float
    ended: float


class Queued(InTurn, Protocol):
    """What the policy sees of one entry; moments in seconds of one clock."""

    @property
    def arrived(self) -> float:
        """When it was queued."""

    @property
    def is_abandoned(self) -> bool:
        """Whether its caller has left."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens to the queue; positions count from its head, in its order.

    Attributes:
        leave: form the next batch.
        expire: can no longer be answered in time, or their deadline has come.
        drop: nobody waits for them, although their deadline has not come.
        look_again_at: the next moment at which time alone changes the decision, if any.
    """

    leave: tuple[int, ...] = ()
    expire: tuple[int, ...] = ()
    drop: tuple[int, ...] = ()
    look_again_at: float | None = None


def decide(
    queue: Sequence[Queued],
    now: float,
    room: Room,
    limits: Limits,
    recent: Sequence[Run] = (),
    *,
    busy_s: float = 0.0,
) -> Decision:
    """Choose who leaves the queue.

    A partial batch leaves only for an idle engine, so that entries which come while it works
    travel together; a full one leaves early and is stacked behind the running batch. After a
    large batch a small one waits for a moment (`pause_until`). Where not all can leave, the more
    important do (`choose_in_turn`).

    Args:
        queue: the entries, oldest first.
        now: the present moment.
        room: what the engine can take.
        limits: what an operator decided.
        recent: the runs of late, oldest first. While the device is busy, an entry whose deadline
            comes before even the shortest of them would end can no longer be answered in time; an
            idle device tries, so that one slow run does not refuse everybody after it.
        busy_s: until the device has done what was handed to it, by whatever model.

    Returns:
        The decision; applied to the queue, a second look at the same moment changes nothing
        unless the engine's room does.
    """
    shortest_run_s = min((run.seconds for run in recent), default=0.0)
    margin_s = 0.0 if room is Room.IDLE else busy_s + shortest_run_s
    expire = tuple(i for i, entry in enumerate(queue) if _is_late(entry, now, margin_s))
    drop = tuple(
        i for i, entry in enumerate(queue) if entry.is_abandoned and not _is_late(entry, now, 0.0)
    )
    gone = {*drop, *expire}
    alive = [i for i in range(len(queue)) if i not in gone]
    may_leave_at = now
    if alive:
        may_leave_at = queue[alive[0]].arrived + limits.window_s
        if recent:
            in_time = min(queue[i].deadline for i in alive) - recent[-1].seconds
            pause_ends = min(pause_until(len(alive), recent[-1]), in_time)
            may_leave_at = max(may_leave_at, pause_ends)
    places = _choose_batch(len(alive), now, room, limits, may_leave_at)
    turn = choose_in_turn(
        [queue[i] for i in alive], places, now + busy_s, limits.max_batch, _long_run_s(recent)
    )
    leave = [alive[i] for i in turn]
    left = gone.union(leave)
    rest = [entry for i, entry in enumerate(queue) if i not in left]
    moments = [max(entry.deadline - margin_s, now) for entry in rest]
    if rest and room is Room.IDLE and not leave:
        moments.append(may_leave_at)
    return Decision(tuple(leave), expire, drop, min(moments, default=None))


def _long_run_s(recent: Sequence[Run]) -> float:
    """What nine in ten runs stay below: a single slow one says nothing of the next."""
    seconds = sorted(run.seconds for run in recent)
    return seconds[int(LONG_RUN * (len(seconds) - 1))] if seconds else 0.0


def _is_late(entry: Queued, now: float, margin_s: float) -> bool:
    """Whether time takes an entry out; of one whose caller left, only its own deadline does."""
    return entry.deadline - (0.0 if entry.is_abandoned else margin_s) <= now


def pause_until(entries: int, last: Run) -> float:
    """Until when a small batch is held back after a large one, so that others can join it.

    Clients who post again as soon as they are answered come back within milliseconds of a run's
    end. Were the few who came during the run sent off at that moment, the many would wait for
    those, and so each time: batches of 15 and 1 by turns. Once half as many are there as ran
    before they leave, and the others come while they run: batches of 8 and 8.

    Args:
        entries: that could leave.
        last: the run before.

    Returns:
        A moment, which may have passed.
    """
    if 2 * entries >= last.entries:
        return last.ended
    return last.ended + PAUSE * last.seconds


def _choose_batch(entries: int, now: float, room: Room, limits: Limits, may_leave_at: float) -> int:
    """How many of the entries that stay may leave."""
    if not entries or room is Room.NONE:
        return 0
    if entries >= limits.max_batch:
        return limits.max_batch
    return entries if room is Room.IDLE and now >= may_leave_at else 0
