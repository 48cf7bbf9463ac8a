"""From measured batches to settings."""

from __future__ import annotations

import dataclasses

import pytest

from tests.load.service_view import Distribution
from tests.load.sizing import Advice, BatchCost, advise
from tests.load.step import Step
from tests.load.test_verdicts import step


def with_batches(size: float, batch_ms: float, batches: int = 50) -> Step:
    """A step of equal batches."""
    one = step()
    service = dataclasses.replace(
        one.service,
        batch_size=Distribution(size * batches, batches, (float("inf"),), (batches,)),
        batch_s=Distribution(batch_ms / 1000 * batches, batches, (float("inf"),), (batches,)),
    )
    return dataclasses.replace(one, service=service)


def test_a_batch_costs_a_fixed_part_and_one_per_image() -> None:
    """The line through the steps is found."""
    cost = BatchCost.fit([with_batches(size, 5 + 10 * size) for size in (1.5, 4, 12)])

    assert cost is not None
    assert (cost.fixed_ms, cost.per_image_ms) == pytest.approx((5, 10))
    assert cost.batch_ms(16) == pytest.approx(165)


def test_a_batch_is_never_cheaper_than_its_images() -> None:
    """Where noise would give a negative fixed part, the line goes through the origin."""
    cost = BatchCost.fit([with_batches(1, 5), with_batches(10, 100)])

    assert cost is not None
    assert cost.fixed_ms == 0
    assert cost.per_image_ms == pytest.approx(10, rel=0.01)


def test_equal_batches_say_nothing_of_their_cost() -> None:
    """One size of batch has no slope."""
    assert BatchCost.fit([with_batches(1, 10), with_batches(1.1, 11)]) is None


@pytest.mark.parametrize(
    ("cost", "around_ms", "target_ms"),
    [
        (BatchCost(fixed_ms=5, per_image_ms=10), 20, 500),
        (BatchCost(fixed_ms=0, per_image_ms=80), 50, 2000),
        (BatchCost(fixed_ms=2, per_image_ms=0.05), 5, 50),
    ],
    ids=["a processor", "a slow one", "a GPU"],
)
def test_limits_keep_the_promise_they_are_made_for(
    cost: BatchCost, around_ms: float, target_ms: float
) -> None:
    """The rest of a batch and all that may be inside, in full batches, fit into the time."""
    advice = advise(cost, around_ms, target_ms)

    assert advice is not None
    batches = 1 + advice.max_in_flight / advice.max_batch
    assert batches * cost.batch_ms(advice.max_batch) + around_ms <= target_ms
    assert advice.max_in_flight >= advice.max_batch


def test_a_processor_gets_small_batches_and_a_gpu_large_ones() -> None:
    """Where a batch costs hardly more than an image, the largest is taken."""
    processor = advise(BatchCost(fixed_ms=5, per_image_ms=10), 20, 500)
    gpu = advise(BatchCost(fixed_ms=2, per_image_ms=0.05), 5, 50)

    assert processor == Advice(max_batch=11, max_in_flight=33)
    assert gpu == Advice(max_batch=64, max_in_flight=448)


def test_a_promise_nobody_can_keep_gets_no_limits() -> None:
    """Where a single image does not fit behind another, there is no advice."""
    assert advise(BatchCost(fixed_ms=5, per_image_ms=10), around_ms=20, target_ms=40) is None
