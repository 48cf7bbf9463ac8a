"""Micro-batches: what one run of a program takes of a batch, and how many images that best is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from service.engines.aoti.package import Program, Programs
from service.model.fuse import RawSimilarity

MEASURED_ROUNDS = 3
MEASURED_IMAGES = 8  # at least, for each size that is smaller
WORTH = 0.98  # of the time of a whole batch: what micro-batches must undercut


@dataclass(frozen=True, slots=True)
class Joined:
    """What a program returned for the micro-batches, put together where it is looked at."""

    runs: list[list[Tensor]]

    @property
    def result(self) -> Tensor:
        """What the program computes, for the batch."""
        return self._part(0)

    def raw_similarity(self, index: int) -> RawSimilarity:
        """Raw similarity of the program's block of that index, for the batch."""
        start = 1 + index * len(RawSimilarity._fields)
        return RawSimilarity(
            *(self._part(start + offset) for offset in range(len(RawSimilarity._fields)))
        )

    def _part(self, index: int) -> Tensor:
        first, *others = [run[index] for run in self.runs]
        return torch.cat([first, *others]) if others else first


def run_in_micro_batches(program: Program, batch: Tensor, images: int) -> Joined:
    """Run a batch, so many images at a time."""
    return Joined([program([part]) for part in torch.split(batch, images)])


class MicroBatches(NamedTuple):
    """How many images each program takes at a time."""

    front: int
    rear: int


@torch.inference_mode()
def fastest_micro_batches(programs: Programs, pixels: Tensor) -> MicroBatches:
    """Measure both programs.

    Args:
        programs: loaded.
        pixels: the largest batch, (B, 3, h, w) uint8.
    """
    front = fastest_micro_batch(programs.front, pixels)
    maps = run_in_micro_batches(programs.front, pixels, front).result
    return MicroBatches(front, fastest_micro_batch(programs.rear, maps))


def fastest_micro_batch(
    program: Program, batch: Tensor, clock: Callable[[], float] = time.perf_counter
) -> int:
    """Measure how many images a program best takes at a time.

    Each size is measured on whole micro-batches of some images, not on all: a batch of a large
    network takes seconds, and there are as many sizes as powers of two.

    Args:
        program: runs on the CPU.
        batch: the largest there will be.
        clock: in seconds.

    Returns:
        The images of a micro-batch: all, unless a power of two is clearly faster.
    """
    whole = len(batch)
    sizes = [2**power for power in range(whole.bit_length()) if 2**power < whole]
    seconds = dict.fromkeys([*sizes, whole], float("inf"))  # an image
    _ = run_in_micro_batches(program, batch[:MEASURED_IMAGES], whole).result  # reads the weights
    for _ in range(MEASURED_ROUNDS):
        for size in seconds:
            images = max(1, min(MEASURED_IMAGES, whole) // size) * size
            started = clock()
            _ = run_in_micro_batches(program, batch[:images], size).result
            seconds[size] = min(seconds[size], (clock() - started) / images)
    batch_s = {size: _seconds_of_batch(whole, size, seconds) for size in seconds}
    best = min(batch_s, key=batch_s.__getitem__)
    return best if batch_s[best] < WORTH * batch_s[whole] else whole


def _seconds_of_batch(whole: int, size: int, seconds: Mapping[int, float]) -> float:
    """What a batch takes in micro-batches of a size; its rest, as the next smaller size does."""
    left = whole % size
    tail_s = left * seconds[2 ** (left.bit_length() - 1)] if left else 0.0
    return (whole - left) * seconds[size] + tail_s
