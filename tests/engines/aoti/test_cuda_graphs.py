"""Which buckets a batch is cut into or padded to."""

from __future__ import annotations

import itertools

import pytest

from service.engines.aoti.cuda_graphs import bucket_sizes, cheapest_cut


@pytest.mark.parametrize(
    ("max_batch", "sizes"), [(1, [1]), (2, [1, 2]), (8, [1, 2, 4, 8]), (12, [1, 2, 4, 8, 12])]
)
def test_buckets_are_powers_of_two_and_the_largest_batch(max_batch: int, sizes: list[int]) -> None:
    """Each once, ascending."""
    assert bucket_sizes(max_batch) == sizes


def test_a_batch_is_padded_where_that_is_cheaper_than_cutting_it() -> None:
    """A bucket that costs no more than two smaller ones is taken half empty."""
    assert cheapest_cut(5, {1: 1.0, 4: 2.0, 8: 2.5}) == [8]
    assert cheapest_cut(5, {1: 0.6, 4: 1.5, 8: 2.5}) == [4, 1]
    assert cheapest_cut(4, {1: 1.0, 4: 2.0, 8: 2.5}) == [4]


def test_no_other_cut_costs_less() -> None:
    """Against every combination of up to four buckets."""
    seconds = {1: 1.0, 2: 1.7, 4: 2.9, 8: 5.0}
    for batch in range(1, 9):
        covers = [
            buckets
            for count in range(1, 5)
            for buckets in itertools.combinations_with_replacement(seconds, count)
            if sum(buckets) >= batch
        ]
        least = min(sum(seconds[bucket] for bucket in buckets) for buckets in covers)
        cut = cheapest_cut(batch, seconds)
        assert sum(cut) >= batch
        assert sum(seconds[bucket] for bucket in cut) == pytest.approx(least)
