"""What each step of the training run is: its frames, its images and its learning rate.

B: batch.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass

import torch
from torch import Tensor

from recipe.garments import Frames

BATCH = 128
WARM_UP = 0.08  # share of a cycle


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of the run on frames of one kind, a share of them posted."""

    frames: Frames
    epochs: float
    posted: float = 0.5


@dataclass(frozen=True, slots=True)
class Cycle:
    """A stretch over which the learning rate warms up and falls to zero once."""

    peak_learning_rate: float
    phases: tuple[Phase, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """What one step trains on, and how fast."""

    phase: Phase
    learning_rate: float


# Low resolution first: a 28 px frame holds every detail of the data at a quarter of the cost.
# Garments of twice the size then need a cycle of their own.
CYCLES = (
    Cycle(
        0.1,
        (
            Phase(Frames(28, smallest=0.7), 8.0),
            Phase(Frames(40, smallest=0.5), 0.7),
            Phase(Frames(56, smallest=0.4), 0.6),
        ),
    ),
    Cycle(0.05, (Phase(Frames(56, smallest=0.4), 2.2),)),
    Cycle(0.03, (Phase(Frames(56, smallest=0.4), 1.4, posted=0.4),)),
    # Garments nearly as the data set has them come last.
    Cycle(0.02, (Phase(Frames(56, smallest=0.4, liberty=0.25), 0.8, posted=0.3),)),
    Cycle(0.02, (Phase(Frames(56, smallest=0.4, liberty=0.25), 0.8, posted=0.3),)),
)

AVERAGED_CYCLES = 3  # the last ones, whose ends make the network (see `averaging.py`)


def learning_rate(progress: float) -> float:
    """Warm up, then fall in a straight line: `progress` from 0 to 1 -> 0 to 1 to 0."""
    return min(progress / WARM_UP, (1 - progress) / (1 - WARM_UP))


def schedule(images: int, cycles: Sequence[Cycle] = CYCLES) -> list[Step]:
    """Every step of the run on so many images."""
    steps = []
    for cycle in cycles:
        phases = [
            phase for phase in cycle.phases for _ in range(math.ceil(phase.epochs * images / BATCH))
        ]
        steps += [
            Step(phase, cycle.peak_learning_rate * learning_rate(number / len(phases)))
            for number, phase in enumerate(phases)
        ]
    return steps


def cycle_ends(images: int, cycles: Sequence[Cycle] = CYCLES) -> list[int]:
    """How many steps are done at the end of each cycle."""
    lengths = [len(schedule(images, [cycle])) for cycle in cycles]
    return list(itertools.accumulate(lengths))


def batch_indices(images: int, step: int, seed: int) -> Tensor:
    """The images of a step: an epoch is one seeded shuffle, its last short batch dropped."""
    epoch, position = divmod(step, images // BATCH)
    order = torch.randperm(images, generator=torch.Generator().manual_seed(seed * 1000 + epoch))
    return order[position * BATCH : (position + 1) * BATCH]


def spread(share: float) -> Tensor:
    """Mark a share of a batch, evenly spread: (B,) bool."""
    marked = (torch.arange(BATCH + 1, dtype=torch.float64) * share + 1e-9).floor()
    return marked.diff() > 0


@dataclass(frozen=True, slots=True)
class Plan:
    """All that the steps of a run follow from.

    Attributes:
        seed: of every shuffle and every augmentation.
        images: how many there are to train on.
        steps: from the first to the last.
        ends: after how many steps the weights are kept; their mean is the network.
    """

    seed: int
    images: int
    steps: Sequence[Step]
    ends: tuple[int, ...] = ()

    def fingerprint(self, done: int | None = None) -> str:
        """Tell the first `done` steps, or all, from any others; later ones do not count."""
        steps = [
            (*astuple(step.phase.frames), step.phase.posted, step.learning_rate)
            for step in self.steps[:done]
        ]
        text = json.dumps([self.seed, self.images, BATCH, steps])
        return hashlib.sha256(text.encode()).hexdigest()
