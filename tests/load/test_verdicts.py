"""The refusal, the comparison and the knee."""

from __future__ import annotations

import dataclasses

import pytest

from service.metrics import PHASES
from tests.load.mix import PREDICT, Kind
from tests.load.sender import Answer, Shot
from tests.load.service_view import Distribution, ServiceView
from tests.load.step import Cores, Step, sum_up
from tests.load.verdicts import (
    ClientLimits,
    ClientTooSlow,
    Comparison,
    Knee,
    compare,
    find_knee,
    require_idle_client,
)

KIND = Kind("one", 1, PREDICT, "image/png", b"")
DEADLINE_S = 0.5
SILENT = Distribution(0.0, 0.0, (float("inf"),), (0.0,))


def view(answers: int, mean_s: float = 0.1) -> ServiceView:
    """A service that took between 50 and 100 ms for everything, by its buckets."""
    total = Distribution(
        answers * mean_s, answers, (0.05, 0.1, float("inf")), (0, answers, answers)
    )
    phases = dict.fromkeys(PHASES, total)
    return ServiceView({"ok": float(answers)}, phases, SILENT, SILENT, None)


def step(
    rate: int = 100,
    *,
    slow: int = 0,
    lateness_s: float = 0.0,
    client_cores: float = 0.1,
    service: ServiceView | None = None,
) -> Step:
    """A second of load: each answer takes 100 ms, `slow` ones a second."""
    times_s = [1.0] * slow + [0.1] * (rate - slow)
    shots = [Shot(KIND, 0.0, lateness_s, lateness_s + time_s, Answer.OK) for time_s in times_s]
    cores = Cores(client_cores, 1.5)
    return sum_up(shots, "poisson", 1.0, DEADLINE_S, cores=cores, service=service or view(rate))


def test_a_punctual_client_with_room_is_believed() -> None:
    """Nothing is raised, up to the limits."""
    limits = ClientLimits(lateness_ms=10, cores=0.8)

    require_idle_client(step(lateness_s=0.0098, client_cores=0.8), limits)


def test_a_client_that_sends_late_reports_nothing() -> None:
    """The refusal names the rate, what was seen and the limit."""
    with pytest.raises(
        ClientTooSlow, match=r"at 100/s \(poisson\): .* 25\.\d ms late.*limit is 10 ms"
    ):
        require_idle_client(step(lateness_s=0.025), ClientLimits(lateness_ms=10))


def test_a_client_whose_core_is_full_reports_nothing() -> None:
    """A saturated client measures itself, even if it is punctual."""
    with pytest.raises(ClientTooSlow, match=r"it used 0\.93 of a core, the limit is 0\.8"):
        require_idle_client(step(client_cores=0.93), ClientLimits(cores=0.8))


def test_cores_are_processor_seconds_a_second() -> None:
    """A server that does not tell stays unknown."""
    seen, unseen = Cores.of(0.5, 3.0, 2.0), Cores.of(0.5, None, 2.0)

    assert (seen, unseen) == (Cores(0.25, 1.5), Cores(0.25, None))


def test_agreeing_sides_agree_on_every_figure() -> None:
    """Counts and means are the same, quantiles lie in the service's buckets."""
    rows = compare(step())

    assert [row.name for row in rows] == ["answers", "mean ms", "p50 ms", "p90 ms", "p99 ms"]
    assert [row for row in rows if not row.agrees] == []


def test_a_service_that_counts_otherwise_disagrees() -> None:
    """Somebody else's requests in the service's metrics are told."""
    (answers,) = [row for row in compare(step(service=view(120))) if not row.agrees]

    assert (answers.name, answers.client, answers.service_low) == ("answers", 100, 120)
    assert answers.difference == pytest.approx(-1 / 6)


def test_a_wait_that_the_service_does_not_see_disagrees() -> None:
    """A mean, and a quantile outside its bucket, that are 5 % apart are told."""
    slow = step(slow=2)  # mean 118 ms, p99 a second; the service says 100 ms and at most 100 ms

    assert [row.name for row in compare(slow) if not row.agrees] == ["mean ms", "p99 ms"]


@pytest.mark.parametrize(
    ("client", "agrees"),
    [(94.0, False), (95.5, True), (150.0, True), (209.0, True), (211.0, False)],
)
def test_a_quantile_may_lie_anywhere_in_its_bucket(client: float, agrees: bool) -> None:  # noqa: FBT001
    """And 5 % outside of it."""
    assert Comparison("p50", client, 100.0, 200.0).agrees is agrees


def test_few_answers_have_no_quantiles_to_compare() -> None:
    """Below 20 answers only counts and means are compared."""
    assert [row.name for row in compare(step(rate=19))] == ["answers", "mean ms"]


def test_goodput_counts_what_came_in_time() -> None:
    """Late answers are answered, yet they are no goodput."""
    measured = step(slow=30)

    assert measured.goodput == pytest.approx(70)
    assert measured.share_in_time == pytest.approx(0.7)
    assert measured.answered_rate == pytest.approx(100)  # the last answer came after one second


def test_refusals_are_no_latencies() -> None:
    """A service that refuses at once is not quick; one that never answers is as slow as that."""
    shots = [
        Shot(KIND, 0.0, 0.0, 0.1, Answer.OK),
        Shot(KIND, 0.0, 0.0, 0.001, Answer.REFUSED),
        Shot(KIND, 0.0, 0.0, 10.0, Answer.TIMED_OUT),
    ]
    measured = sum_up(shots, "constant", 1.0, DEADLINE_S, cores=Cores(0.1, None), service=view(1))

    assert measured.latency.count == 2
    assert measured.latency.max_ms == pytest.approx(10_000, rel=0.01)
    assert measured.answers[Answer.REFUSED] == 1
    assert measured.share_in_time == pytest.approx(1 / 3)
    assert measured.images_per_core is None


def test_a_rate_at_which_all_is_refused_has_no_latency() -> None:
    """Nothing was answered, so nothing was quick: all figures are 0, and so is the goodput."""
    shots = [Shot(KIND, 0.0, 0.0, 0.001, Answer.REFUSED)]
    cores = Cores(0.1, 0.2)
    measured = sum_up(shots, "constant", 1.0, DEADLINE_S, cores=cores, service=view(0))

    assert (measured.latency.count, measured.latency.p99_ms, measured.latency.max_ms) == (0, 0, 0)
    assert measured.goodput == 0
    assert [row for row in compare(measured) if not row.agrees] == []


def with_share(rate: float, share: float) -> Step:
    """A step at a rate at which a share came in time."""
    return dataclasses.replace(step(slow=round(100 * (1 - share))), rate=rate)


@pytest.mark.parametrize(
    ("shares", "knee"),
    [
        ({10: 1.0, 20: 0.99, 30: 0.5}, Knee(held=20, broken=30)),
        ({30: 0.5, 10: 1.0, 20: 0.99}, Knee(held=20, broken=30)),
        ({10: 1.0, 20: 0.98, 30: 1.0}, Knee(held=10, broken=20)),
        ({10: 1.0, 20: 1.0}, Knee(held=20, broken=None)),
        ({10: 0.9, 20: 1.0}, Knee(held=None, broken=10)),
    ],
    ids=["bends", "in any order", "a lucky rate above", "never bends", "broken from the start"],
)
def test_the_knee_is_the_last_rate_held_by_all_below(
    shares: dict[float, float], knee: Knee
) -> None:
    """A rate counts only if every lower one was held too."""
    steps = [with_share(rate, share) for rate, share in shares.items()]

    assert find_knee(steps, share=0.99) == knee
