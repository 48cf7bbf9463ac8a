"""The stub engine: no model at all, to measure the service around it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from service.engines.base import EngineDescription, EngineOutputs, Row
from service.model.resnet import FEATURES
from service.store.manifest import Manifest


class StubEngine:
    """Answers every image at once with the same logits, flat masks and features of zero."""

    def __init__(self, manifest: Manifest) -> None:
        self.spec = manifest.spec
        self.description = EngineDescription("stub", "none", "cpu")

    def load(self) -> None:
        """Nothing is needed."""

    def warm_up_sizes(self, max_batch: int) -> Sequence[int]:
        """Every size is alike."""
        return [max_batch]

    def collate(self, rows: Sequence[Row]) -> int:
        """Count the rows; the pixels are of no interest."""
        return len(rows)

    def infer(self, batch: int, extras: frozenset[str]) -> EngineOutputs:
        """Return logits that fall with the index, and zeros for what else is asked for."""
        logits = -np.arange(self.spec.classes, dtype=np.float32)
        similarities = {
            block.name: np.zeros((batch, block.groups, block.height, block.width), np.float32)
            for block in self.spec.blocks()
            if block.name in extras
        }
        features = np.zeros((batch, *self.spec.features_shape), np.float32)
        asked = features if FEATURES in extras else None
        return EngineOutputs(np.tile(logits, (batch, 1)), similarities, asked)

    def close(self) -> None:
        """Nothing is held."""
