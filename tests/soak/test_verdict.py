"""The verdict on a soak: each promise can be broken, and then is said to be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.load.mix import Kind
from tests.soak.clients import DIED, Answer, Tally
from tests.soak.holdings import Holdings
from tests.soak.verdict import Check, Counts, judge

GOOD = Kind("good", 1, "/v1/predict", "image/png", b"")
HELD = Holdings(own_mb=500, total_mb=600, threads=10, files=20, sockets=4, children=2)
COUNTS = Counts(3, {"ok": 2, "disconnected": 1}, permits=0, body_bytes=0, decoded_bytes=0)


def tally_of(*statuses: int, left: int = 1, body: bytes = b"", whole: bool = True) -> Tally:
    """Requests that were answered so, and one whose client left."""
    tally = Tally(left=left)
    tally.sent["in turn"] = len(statuses) + left
    for status in statuses:
        tally.note("in turn", GOOD, Answer(status, body, whole))
    return tally


def broken(checks: list[Check]) -> list[str]:
    """The promises that did not hold."""
    return [check.promise for check in checks if check.held is False]


def test_a_soak_that_was_stood_breaks_no_promise() -> None:
    """Every one is judged."""
    checks = judge([tally_of(200, 200)], COUNTS, [HELD] * 20, 0)

    assert {check.held for check in checks} == {True}


@pytest.mark.parametrize(
    ("tally", "counts", "code", "promise"),
    [
        (tally_of(200, 0), COUNTS, 0, "every request has exactly one answer"),
        (tally_of(200, 404), COUNTS, 0, "each answer is the right one"),
        (tally_of(200, 500), COUNTS, 0, "each answer is the right one"),
        (tally_of(200, 200, whole=False), COUNTS, 0, "each answer is the right one"),
        (tally_of(503, 503), COUNTS, 0, "every kind of request had right answers"),
        (tally_of(200, 200), replace(COUNTS, received=4), 0, "what was received has an outcome"),
        (tally_of(200, 200), replace(COUNTS, permits=1), 0, "nothing is left inside"),
        (tally_of(200, 200), replace(COUNTS, body_bytes=9), 0, "nothing is left inside"),
        (tally_of(200, 200), COUNTS, 1, "it ends in good order"),
    ],
)
def test_what_is_lost_or_left_is_seen(
    tally: Tally, counts: Counts, code: int, promise: str
) -> None:
    """Each in its line."""
    assert any(promise in line for line in broken(judge([tally], counts, [HELD] * 20, code)))


@pytest.mark.parametrize("name", ["own_mb", "total_mb", "threads", "files", "sockets", "children"])
def test_what_grows_is_seen(name: str) -> None:
    """A quarter of a percent a round, or one thread more in the end."""
    samples = [replace(HELD, **{name: getattr(HELD, name) * 1.0025**n}) for n in range(20)]

    assert [name in line for line in broken(judge([tally_of(200, 200)], COUNTS, samples, 0))] == [
        True
    ]


def test_a_service_that_does_not_recover_is_seen() -> None:
    """Refusals are right answers for a moment, and not for a round."""
    rounds = [tally_of(200, left=1), tally_of(503, left=0)]

    (line,) = broken(judge(rounds, COUNTS, [HELD] * 20, 0))
    assert "each round" in line


def test_who_is_told_that_an_engine_died_has_a_right_answer() -> None:
    """Engines are killed."""
    tally = tally_of(500, 200, body=DIED)

    assert broken(judge([tally], COUNTS, [HELD] * 20, 0)) == []


def test_growth_before_it_is_warm_does_not_count() -> None:
    """Pools fill, allocators settle."""
    samples = [replace(HELD, own_mb=300), replace(HELD, threads=5)] + [HELD] * 18

    assert broken(judge([tally_of(200, 200)], COUNTS, samples, 0)) == []


def test_a_short_soak_says_that_it_cannot_tell_growth() -> None:
    """Neither held nor broken."""
    checks = judge([tally_of(200, 200)], COUNTS, [HELD] * 3, 0)

    assert [check.held for check in checks].count(None) == 6
