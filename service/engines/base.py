"""What the service asks of an engine: the protocol, its outputs, and how it is warmed up.

B: batch, K: classes, C: channels of the last block, G: groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Row = NDArray[np.uint8]
"""Pixels of one image: (3, h, w) uint8, RGB, C-contiguous."""


@dataclass(frozen=True, slots=True)
class EngineOutputs:
    """What one forward pass gave.

    Attributes:
        logits: (B, K) float32.
        similarities: per named block (B, G, h, w) float32; it may hold further blocks.
        features: (B, G, C/G, h, w) float32, the output of the last block in its groups: the mean
            over its positions is what the classifier reads. None where nobody asked.
    """

    logits: NDArray[np.float32]
    similarities: dict[str, NDArray[np.float32]]
    features: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class EngineDescription:
    """What a user is told of an engine: its name, its arithmetic and where it runs."""

    name: str
    precision: str
    device: str


class Engine(Protocol):
    """A model ready to run on one device.

    `load` and `infer` are called from one thread at a time; `collate` from any thread, also while
    `infer` runs.
    """

    @property
    def description(self) -> EngineDescription:
        """Name, precision and device."""

    def load(self) -> None:
        """Build what `infer` needs; slow, may compile, calling it again starts afresh.

        Raises:
            Exception: the engine cannot run here; it may be tried again or given up.
        """

    def warm_up_sizes(self, max_batch: int) -> Sequence[int]:
        """The batch sizes that behave differently and so must run once before the first reply."""

    def collate(self, rows: Sequence[Row]) -> Any:
        """Stack rows into one batch in memory that the device reads fast."""

    def infer(self, batch: Any, extras: frozenset[str]) -> EngineOutputs:
        """Run a collated batch and wait for it.

        Args:
            batch: what `collate` returned.
            extras: what is fetched beside the logits: names of blocks, for their similarity, and
                `FEATURES`.

        Raises:
            EngineLost: every later call on the device would fail too; the engine is restarted.
            Exception: whatever else the model or the device raises; the caller isolates the row.
        """

    def close(self) -> None:
        """Release the memory of model and device; nothing is called afterwards."""


def warm_up(
    engine: Engine, pixels_shape: tuple[int, int, int], extras: frozenset[str], max_batch: int
) -> None:
    """Run the batch sizes that behave differently once with masks, and the smallest without.

    Asking changes the graph of no engine but TensorRT's, which takes any size.

    Args:
        engine: a loaded engine.
        pixels_shape: (3, h, w).
        extras: every block of the network, and `FEATURES`.
        max_batch: images in the largest batch.
    """
    row = np.zeros(pixels_shape, np.uint8)
    sizes = engine.warm_up_sizes(max_batch)
    for size in sizes:
        engine.infer(engine.collate([row] * size), extras)
    for size in sizes[:1]:
        engine.infer(engine.collate([row] * size), frozenset())
