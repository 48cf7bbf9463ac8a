"""What the steps share: the network, its engines, and how far two of them may be apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from service.engines.aoti.engine import CompiledEngine
from service.engines.base import Engine, EngineOutputs, Row
from service.engines.device import choose_precision
from service.engines.eager import EagerEngine
from service.engines.tensorrt.engine import TensorRtEngine
from service.model.resnet import ResNetSpec
from service.store.load import LoadedModel, load_version
from tests.bench.networks import random_model

RESNET50 = ResNetSpec("sge_resnet50")
MAX_BATCH = 32

# Logits, relative to their length, and gates: two ways of rounding the same numbers, no more.
LOGITS_APART = {"fp32": 1e-3, "fp16": 2e-2, "bf16": 1e-1}
GATES_APART = {"fp32": 1e-3, "fp16": 2e-2, "bf16": 1e-1}


class Wrong(Exception):
    """What a step found is not what it should be."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A network on a device, and the folder that goes from step to step.

    Attributes:
        folder: of the model store, the cache of built engines and whatever else.
        device: where engines run.
        spec: of the network; its weights are random, and the same each time.
        max_batch: images in the largest batch.
    """

    folder: Path
    device: torch.device
    spec: ResNetSpec = RESNET50
    max_batch: int = MAX_BATCH

    @property
    def store(self) -> Path:
        """The model store."""
        return self.folder / "store"

    @property
    def cache(self) -> Path:
        """The folder of built engines."""
        return self.folder / "cache"

    @property
    def precisions(self) -> tuple[str, ...]:
        """fp32, and what the service takes by itself."""
        return tuple(dict.fromkeys(("fp32", choose_precision("auto", self.device))))

    def model(self) -> LoadedModel:
        """The network out of the store, into which the first step puts it."""
        version = self.store / "random" / "1"
        return load_version(version) if version.is_dir() else random_model(self.spec, self.store)

    def eager(self, precision: str) -> EagerEngine:
        """The eager engine, loaded."""
        engine = EagerEngine(self.model(), self.device, precision)
        engine.load()
        return engine

    def compiled(self, precision: str) -> CompiledEngine:
        """The compiled engine, not loaded yet."""
        return CompiledEngine(
            self.model(),
            self.device,
            precision,
            max_batch=self.max_batch,
            cache_dir=self.cache,
        )

    def tensorrt(self) -> TensorRtEngine:
        """The TensorRT engine, not loaded yet."""
        return TensorRtEngine(
            self.model(), self.device, "fp16", max_batch=self.max_batch, cache_dir=self.cache
        )

    def rows(self, count: int) -> list[Row]:
        """Noise, the same each time."""
        shape = (count, 3, self.spec.input_px, self.spec.input_px)
        return list(np.random.default_rng(count).integers(0, 256, shape, np.uint8))

    @property
    def blocks(self) -> tuple[str, ...]:
        """The names of all blocks."""
        return tuple(block.name for block in self.spec.blocks())

    def sizes(self) -> list[int]:
        """Batches that fill a bucket, and batches between two."""
        return sorted({1, 2, 3, self.max_batch - 1, self.max_batch} - {0})


def kept(engine: CompiledEngine) -> CompiledEngine:
    """Load what an earlier step has built.

    Raises:
        Wrong: it has built nothing.
    """
    if not engine.load_kept():
        raise Wrong(f"nothing sound is built in {engine.precision}")
    return engine


def infer(engine: Engine, rows: Sequence[Row], blocks: Sequence[str] = ()) -> EngineOutputs:
    """Send rows through an engine as one batch."""
    return engine.infer(engine.collate(rows), frozenset(blocks))


def logits_apart(given: EngineOutputs, expected: EngineOutputs) -> float:
    """How far logits are apart, relative to their length."""
    difference = np.linalg.norm(given.logits - expected.logits)
    return float(difference / np.linalg.norm(expected.logits))


def gates_apart(model: LoadedModel, given: EngineOutputs, expected: EngineOutputs) -> float:
    """How far the gates of any block are apart at most.

    Raises:
        Wrong: a block is missing or has another shape.
    """
    furthest = 0.0
    for name, block in model.network.named_blocks():
        if name not in expected.similarities:
            continue
        pair = [outputs.similarities.get(name) for outputs in (given, expected)]
        if pair[0] is None or pair[1] is None or pair[0].shape != pair[1].shape:
            raise Wrong(f"{name} has no similarity, or one of another shape")
        gates = [block.sge.gates(torch.from_numpy(np.ascontiguousarray(n))) for n in pair]
        furthest = max(furthest, float((gates[0] - gates[1]).abs().max()))
    return furthest


def require_close(what: str, apart: float, limit: float) -> float:
    """Pass a difference on, if it is small enough.

    Raises:
        Wrong: it is not, or no number.
    """
    if not apart <= limit:
        raise Wrong(f"{what}: {apart:.3g} apart, and {limit:g} is allowed")
    return apart


def require_finite(numbers: NDArray[np.float32], what: str) -> None:
    """Refuse what is not finite.

    Raises:
        Wrong: a number is not.
    """
    if not np.isfinite(numbers).all():
        raise Wrong(f"{what} are not all finite")
