"""What can be counted is there at 0 before it happens, so that a rate sees its first event."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

import pytest
from prometheus_client import Counter, Histogram
from prometheus_client.samples import Sample

from service.api.errors import ADMISSION_CODES, OUTCOMES
from service.api.key_file import add_key
from service.metrics import (
    KEY_OUTCOMES,
    LOAD_OUTCOMES,
    MODEL,
    NO_MODEL,
    PHASES,
    RELOADED,
    CloseReason,
    Metrics,
)
from tests.fakes import FakeEngine
from tests.running import running, tiny_model

pytestmark = pytest.mark.anyio

SERVED = [("a", "1"), ("a", "2"), ("b", "1")]
OF_A_MODEL = [dict(zip(MODEL, model, strict=True)) for model in SERVED]
OF_ANY = [*OF_A_MODEL, dict(zip(MODEL, NO_MODEL, strict=True))]

OUTCOME = [{"outcome": str(outcome)} for outcome in OUTCOMES]
PHASE = [{"phase": phase} for phase in PHASES]
KNOWN = {
    "sge_failed_reloads": RELOADED,
    "sge_rejected_requests": ADMISSION_CODES,
    "sge_closed_connections": get_args(CloseReason),
}


def combined(*sides: Sequence[dict[str, str]]) -> set[frozenset[tuple[str, str]]]:
    """Every combination of labels."""
    combinations = itertools.product(*sides)
    return {
        frozenset(itertools.chain.from_iterable(side.items() for side in each))
        for each in combinations
    }


def expected(metric: Counter | Histogram) -> set[frozenset[tuple[str, str]]]:
    """The labels of all that a metric can count in a service of three models."""
    match tuple(metric._labelnames):
        case ("reason" | "file" as label,):
            return combined([{label: known} for known in KNOWN[metric._name]])
        case ("key", "outcome"):
            return combined([{"key": "mine"}], [{"outcome": outcome} for outcome in KEY_OUTCOMES])
        case ("model", "outcome"):
            names = [{"model": name} for name, _ in SERVED]
            return combined(names, [{"outcome": outcome} for outcome in LOAD_OUTCOMES])
        case ("model", "version"):
            return combined(OF_A_MODEL)
        case ("model", "version", "phase"):
            return combined(OF_A_MODEL, PHASE)
        case ("model", "version", "outcome"):
            return combined(OF_ANY, OUTCOME)
        case labels:
            raise AssertionError(f"{metric._name}: what are the known values of {labels}?")


def labelled(metrics: Metrics) -> Iterator[Counter | Histogram]:
    """The counters and histograms that have labels."""
    for metric in vars(metrics).values():
        if isinstance(metric, Counter | Histogram) and metric._labelnames:
            yield metric


def counts_of(metric: Counter | Histogram) -> list[Sample]:
    """How often each combination of labels has been counted."""
    (family,) = metric.collect()
    return [sample for sample in family.samples if sample.name.endswith(("_total", "_count"))]


async def test_what_can_be_counted_is_there_at_0_from_the_start(tmp_path: Path) -> None:
    """For each model, key, outcome and reason that the code knows, and for no other."""
    models = [tiny_model(*key) for key in SERVED]
    keys = tmp_path / "keys"
    add_key(keys, "mine")
    async with running(*models, engine=FakeEngine(), api_keys_file=keys) as service:
        metrics = list(labelled(service.runtime.metrics))
        found = {
            metric._name: {frozenset(sample.labels.items()) for sample in counts_of(metric)}
            for metric in metrics
        }
        values = {sample.value for metric in metrics for sample in counts_of(metric)}

    assert found == {metric._name: expected(metric) for metric in metrics}
    assert values == {0}
