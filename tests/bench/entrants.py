"""Who takes part in `bench engines`: what has yet to be built, and what stands in its way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""A batch: (B, 3, h, w) uint8, RGB."""

Logits = NDArray[np.float32]
"""(B, K)."""

Note = Callable[[str], None]
"""Is told what is being done."""

Runner = Callable[[Pixels], Logits]
"""Takes a batch through a network and waits for the result."""


class CannotRun(Exception):
    """Something that cannot take part here; its text says why."""


@dataclass(frozen=True, slots=True)
class Entrant:
    """An engine with one form of a network in one precision.

    Attributes:
        build: gets it ready to run, which is slow; raises `CannotRun`, or what its library raises.
        only_batch: the one size to measure it at; None measures every size.
        way: of building; of one engine and precision those built in the same way take about as
            long.
    """

    engine: str
    model: str
    precision: str
    build: Callable[[], Runner]
    only_batch: int | None = None
    way: str = ""

    def __str__(self) -> str:
        return f"{self.engine} {self.precision}, {self.model}"
