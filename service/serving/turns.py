"""Who leaves the queue first where not all can: the more important, while all can be kept."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Protocol

HIGHEST_PRIORITY, DEFAULT_PRIORITY, LOWEST_PRIORITY = 1, 2, 3
PRIORITIES = range(HIGHEST_PRIORITY, LOWEST_PRIORITY + 1)


class InTurn(Protocol):
    """What is seen here of one entry; its deadline in seconds of the policy's clock."""

    @property
    def deadline(self) -> float:
        """The moment after which its answer is of no use."""

    @property
    def priority(self) -> int:
        """Its class; 1 is the most important."""


def choose_in_turn(
    queue: Sequence[InTurn],
    places: int,
    start: float,
    max_batch: int,
    run_s: float,
) -> list[int]:
    """Choose who is in the next batch.

    The more important go first; those of one class go in the order in which they came. An entry
    that would thereby miss its deadline goes before them, so that what waits longest waits no
    longer than its deadline allows. Where not all can make theirs any more, the least important
    are not looked after in this way, of one class the latest.

    Args:
        queue: the entries, oldest first.
        places: in the next batch.
        start: the moment at which it will run.
        max_batch: places in the batches after it.
        run_s: how long each of them takes, as far as can be expected.

    Returns:
        Positions in the queue, in its order.
    """
    if not 0 < places < len(queue):
        return list(range(len(queue)))[:places]
    turns = sorted(range(len(queue)), key=lambda i: queue[i].priority)
    ends = (_end(start, rank, max_batch, run_s) for rank in range(len(turns)))
    if any(queue[i].deadline < end for i, end in zip(turns, ends, strict=True)):
        urgent = _urgent(queue, start, max_batch, run_s)
        first = set(urgent)
        turns = [*urgent, *(i for i in turns if i not in first)]
    return sorted(turns[:places])


def _urgent(queue: Sequence[InTurn], start: float, max_batch: int, run_s: float) -> list[int]:
    """Who has no batch to spare, with all who must leave before them; earliest deadline first."""
    kept = _can_be_kept(queue, start, max_batch, run_s)
    spare_s = [
        queue[i].deadline - _end(start, rank, max_batch, run_s) for rank, i in enumerate(kept)
    ]
    tight = [rank for rank, spare in enumerate(spare_s) if spare < run_s]
    return kept[: tight[-1] + 1] if tight else []


def _can_be_kept(queue: Sequence[InTurn], start: float, max_batch: int, run_s: float) -> list[int]:
    """Who can make the deadline if the earliest goes first, once the least important are out.

    That is Moore and Hodgson's rule (J. M. Moore, Management Science 15, 1968), by importance.
    """
    by_deadline = sorted(range(len(queue)), key=lambda i: (queue[i].deadline, queue[i].priority))
    kept: list[tuple[int, int]] = []  # a heap: the least important first, of a class the latest
    for i in by_deadline:
        heapq.heappush(kept, (-queue[i].priority, -i))
        if queue[i].deadline < _end(start, len(kept) - 1, max_batch, run_s):
            heapq.heappop(kept)
    staying = {-position for _, position in kept}
    return [i for i in by_deadline if i in staying]


def _end(start: float, rank: int, max_batch: int, run_s: float) -> float:
    """When the batch ends that takes the entry of a rank, from 0, if nobody goes before it."""
    return start + (rank // max_batch + 1) * run_s
