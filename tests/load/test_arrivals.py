"""Planned arrivals."""

from __future__ import annotations

import numpy as np
import pytest

from tests.load.arrivals import ArrivalKind, plan_arrivals


def test_constant_arrivals_are_evenly_spaced() -> None:
    """One request is due every 1/rate seconds, the first at once."""
    assert plan_arrivals("constant", 4, 1.5, seed=0).tolist() == [0, 0.25, 0.5, 0.75, 1.0, 1.25]


@pytest.mark.parametrize("kind", ["poisson", "constant"])
def test_a_rate_is_exact(kind: ArrivalKind) -> None:
    """As many requests are due as the rate says, in order and within the duration."""
    due_s = plan_arrivals(kind, 50, 10, seed=3)

    assert len(due_s) == 500
    assert np.all(np.diff(due_s) >= 0)
    assert 0 <= due_s[0] <= due_s[-1] < 10


def test_poisson_arrivals_are_the_same_for_the_same_seed() -> None:
    """A run can be repeated, and another seed gives another run."""
    first, again, other = (plan_arrivals("poisson", 50, 10, seed=seed) for seed in (1, 1, 2))

    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()


def test_poisson_gaps_are_spread_as_a_poisson_process_spreads_them() -> None:
    """Gaps have mean 1/rate and a deviation of the same size; constant ones have none.

    20,000 gaps: the deviation's own error is about 1 %, so 5 % is five deviations away.
    """
    gaps_s = np.diff(plan_arrivals("poisson", 100, 200, seed=0))

    assert np.mean(gaps_s) == pytest.approx(0.01, rel=0.01)
    assert np.std(gaps_s) == pytest.approx(0.01, rel=0.05)


@pytest.mark.parametrize(("rate", "duration_s"), [(0, 1), (-1, 1), (1, 0)])
def test_no_rate_and_no_time_are_refused(rate: float, duration_s: float) -> None:
    """A rate of nothing is a mistake, not an empty run."""
    with pytest.raises(ValueError, match="both must be above 0"):
        plan_arrivals("poisson", rate, duration_s, seed=0)
