"""Whether a soak was stood: the invariants, and what the service holds at its end."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tests.soak.clients import Tally
from tests.soak.holdings import Holdings

WARM_UP_SHARE = 0.2
FEWEST_RIGHT = 0.5  # an engine that dies takes what is inside along, and restarts in a moment
FEWEST_SAMPLES = 10  # after warm-up; with fewer a growth is no more than noise
MOST_GROWTH = 0.02
TOO_FEW = "too few samples after warm-up to judge"


@dataclass(frozen=True, slots=True)
class Counts:
    """What the service says of its requests once nobody is inside.

    Attributes:
        received: requests for a prediction.
        outcomes: of them, by code.
        permits: in use.
        body_bytes: in use.
        decoded_bytes: in use.
    """

    received: float
    outcomes: dict[str, float]
    permits: float
    body_bytes: float
    decoded_bytes: float


@dataclass(frozen=True, slots=True)
class Check:
    """One promise, whether it held, and what was seen; None where it could not be judged."""

    promise: str
    held: bool | None
    seen: str


def judge(
    rounds: Sequence[Tally], counts: Counts, samples: Sequence[Holdings], exit_code: int | None
) -> list[Check]:
    """Judge a soak.

    Args:
        rounds: what was sent and answered in each.
        counts: the service's own, at the end.
        samples: what it held after each round.
        exit_code: with which it ended after SIGTERM.
    """
    tally = in_all(rounds)
    owed = sum(tally.sent.values()) - tally.left
    given = sum(counts.outcomes.values())
    inside = (counts.permits, counts.body_bytes, counts.decoded_bytes)
    return [
        Check(
            "every request has exactly one answer",
            tally.answered == owed,
            f"{tally.answered} of {owed}, {tally.left} clients left before theirs",
        ),
        Check(
            "each answer is the right one",
            not tally.wrong,
            "; ".join(tally.wrong[:5]) or "all are",
        ),
        Check(
            "every kind of request had right answers",
            all(tally.right.values()) and bool(tally.right),
            ", ".join(f"{kind} {n}" for kind, n in tally.right.items()),
        ),
        Check(
            f"at least {FEWEST_RIGHT:.0%} of each round's answers are right and no refusals",
            all(share >= FEWEST_RIGHT for share in map(_share_of_right, rounds)),
            f"{min(map(_share_of_right, rounds)):.1%} in the worst",
        ),
        Check(
            "what was received has an outcome each",
            counts.received == given and owed <= given <= owed + tally.left,
            f"{counts.received:.0f} received, {given:.0f} outcomes",
        ),
        Check("nothing is left inside", not any(inside), f"permits, bytes, decoded: {inside}"),
        *(_growth(name, samples) for name in ("own_mb", "total_mb")),
        *(_kept(name, samples) for name in ("threads", "files", "sockets", "children")),
        Check("it ends in good order", exit_code == 0, f"exit code {exit_code}"),
    ]


def in_all(rounds: Sequence[Tally]) -> Tally:
    """Add the rounds up."""
    whole = Tally()
    for tally in rounds:
        whole.sent += tally.sent
        whole.answers += tally.answers
        whole.right.update(tally.right)
        whole.wrong += tally.wrong
        whole.left += tally.left
    return whole


def _share_of_right(tally: Tally) -> float:
    return sum(tally.right.values()) / max(1, tally.answered)


def _growth(name: str, samples: Sequence[Holdings]) -> Check:
    """Compare the middle of the last third with that of the first."""
    promise = f"{name} grows by less than {MOST_GROWTH:.0%}"
    first, last = _thirds(name, samples)
    if len(first) * 3 < FEWEST_SAMPLES:
        return Check(promise, None, TOO_FEW)
    before, after = statistics.median(first), statistics.median(last)
    growth = after / before - 1
    return Check(promise, growth < MOST_GROWTH, f"{before:.1f} -> {after:.1f} MB, {growth:+.2%}")


def _kept(name: str, samples: Sequence[Holdings]) -> Check:
    """Compare the middle of the last third with the most in the first: threads of pools vary."""
    promise = f"no more {name} than after warm-up"
    first, last = _thirds(name, samples)
    if len(first) * 3 < FEWEST_SAMPLES:
        return Check(promise, None, TOO_FEW)
    before, after = max(first), statistics.median_low(last)
    return Check(promise, after <= before, f"{before} -> {after}")


def _thirds(name: str, samples: Sequence[Holdings]) -> tuple[list[float], list[float]]:
    """What was held in the first third after warm-up, and in the last."""
    values = [getattr(sample, name) for sample in samples[int(len(samples) * WARM_UP_SHARE) :]]
    third = len(values) // 3
    return values[:third], values[len(values) - third :]


def as_text(checks: Sequence[Check]) -> str:
    """One line a promise."""
    words = {True: "held", False: "BROKEN", None: "not judged"}
    return "\n".join(f"{words[check.held]:<11}{check.promise}: {check.seen}" for check in checks)
