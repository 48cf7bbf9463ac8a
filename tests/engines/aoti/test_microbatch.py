"""How many images a program takes at a time."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch

from service.engines.aoti.microbatch import fastest_micro_batch
from service.engines.aoti.package import Program


def timed_program(seconds: Mapping[int, float], clock: list[float]) -> Program:
    """A program that takes so long for a micro-batch of each size, on a clock of its own."""

    def run(inputs: list[torch.Tensor]) -> list[torch.Tensor]:
        clock[0] += seconds[len(inputs[0])]
        return [inputs[0]]

    return run


@pytest.mark.parametrize(
    ("seconds", "images"),
    [
        ({1: 1.0, 2: 2.0, 4: 4.0, 6: 6.0}, 6),  # nothing gained: the batch stays whole
        ({1: 1.0, 2: 1.8, 4: 4.0, 6: 6.0}, 2),
        ({1: 1.0, 2: 1.98, 4: 4.0, 6: 6.0}, 6),  # too little gained
        ({1: 3.0, 2: 3.0, 4: 3.8, 6: 6.0}, 6),  # what is left of a batch counts: 4 and 2
        ({1: 3.0, 2: 1.9, 4: 3.8, 6: 6.0}, 2),
    ],
)
def test_a_batch_is_cut_where_that_is_clearly_faster(
    seconds: Mapping[int, float], images: int
) -> None:
    """Seconds an image are compared, on micro-batches of every size."""
    clock = [0.0]
    program = timed_program(seconds, clock)

    assert fastest_micro_batch(program, torch.zeros(6, 1), lambda: clock[0]) == images


def test_a_large_batch_is_not_run_for_every_size() -> None:
    """Of 64 images small micro-batches run eight, so that measuring takes less."""
    clock = [0.0]
    program = timed_program({size: float(size) for size in (1, 2, 4, 8, 16, 32, 64)}, clock)

    fastest_micro_batch(program, torch.zeros(64, 1), lambda: clock[0])

    assert clock[0] == 8 + 3 * (4 * 8 + 16 + 32 + 64)
