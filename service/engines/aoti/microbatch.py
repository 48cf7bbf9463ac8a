"""Into how large pieces the programs of a network best cut a batch, measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from service.engines.aoti.build import Program, Programs, run_in_pieces

MEASURED_ROUNDS = 3
MEASURED_IMAGES = 8  # at least, for each size that is smaller
WORTH = 0.98  # of the time of a whole batch: what pieces must undercut


class Pieces(NamedTuple):
    """How many images each program takes at a time."""

    front: int
    rear: int


@torch.inference_mode()
def fastest_pieces(programs: Programs, pixels: Tensor) -> Pieces:
    """Measure both programs.

    Args:
        programs: loaded.
        pixels: the largest batch, (B, 3, h, w) uint8.
    """
    front = fastest_piece(programs.front, pixels)
    maps = run_in_pieces(programs.front, pixels, front).result
    return Pieces(front, fastest_piece(programs.rear, maps))


def fastest_piece(
    program: Program, batch: Tensor, clock: Callable[[], float] = time.perf_counter
) -> int:
    """Measure into how large pieces a program best cuts a batch.

    Each size is measured on whole pieces of some images, not on all: a batch of a large network
    takes seconds, and there are as many sizes as powers of two.

    Args:
        program: runs on the CPU.
        batch: the largest there will be.
        clock: in seconds.

    Returns:
        The images of a piece: all, unless a power of two is clearly faster.
    """
    whole = len(batch)
    sizes = [2**power for power in range(whole.bit_length()) if 2**power < whole]
    seconds = dict.fromkeys([*sizes, whole], float("inf"))  # an image
    _ = run_in_pieces(program, batch[:MEASURED_IMAGES], whole).result  # reads the weights
    for _ in range(MEASURED_ROUNDS):
        for size in seconds:
            images = max(1, min(MEASURED_IMAGES, whole) // size) * size
            started = clock()
            _ = run_in_pieces(program, batch[:images], size).result
            seconds[size] = min(seconds[size], (clock() - started) / images)
    batch_s = {size: _seconds_of_batch(whole, size, seconds) for size in seconds}
    best = min(batch_s, key=batch_s.__getitem__)
    return best if batch_s[best] < WORTH * batch_s[whole] else whole


def _seconds_of_batch(whole: int, size: int, seconds: Mapping[int, float]) -> float:
    """What a batch takes in pieces of a size; what is left of it, as the next smaller size does."""
    left = whole % size
    tail_s = left * seconds[2 ** (left.bit_length() - 1)] if left else 0.0
    return (whole - left) * seconds[size] + tail_s
