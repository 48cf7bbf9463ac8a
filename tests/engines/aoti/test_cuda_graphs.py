"""Which bucket a batch is padded to."""

from __future__ import annotations

import pytest

from service.engines.aoti.cuda_graphs import bucket_of, bucket_sizes


@pytest.mark.parametrize(
    ("max_batch", "sizes"), [(1, [1]), (2, [1, 2]), (8, [1, 2, 4, 8]), (12, [1, 2, 4, 8, 12])]
)
def test_buckets_are_powers_of_two_and_the_largest_batch(max_batch: int, sizes: list[int]) -> None:
    """Each once, ascending."""
    assert bucket_sizes(max_batch) == sizes


@pytest.mark.parametrize("max_batch", [1, 5, 12, 16])
def test_a_batch_runs_in_a_bucket_less_than_twice_as_large(max_batch: int) -> None:
    """Every batch up to the largest has one that holds it."""
    for images in range(1, max_batch + 1):
        assert images <= bucket_of(images, bucket_sizes(max_batch)) < 2 * images
