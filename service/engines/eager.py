"""The eager engine: the graph as PyTorch runs it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from service.engines.base import EngineDescription, EngineOutputs, Row
from service.engines.device import DTYPES
from service.engines.device_loss import telling_device_loss
from service.model.fuse import fuse
from service.model.graph import InferenceGraph
from service.model.resnet import Outputs
from service.store import Bundle


class EagerEngine:
    """Runs the inference graph without compiling it.

    Args:
        bundle: the model; its network is copied.
        device: where the graph runs.
        precision: `fp32`, `bf16` or `fp16`.
        threads: of one forward pass on a CPU; 0 leaves torch's default, every core.
    """

    name = "eager"

    def __init__(
        self, bundle: Bundle, device: torch.device, precision: str, threads: int = 0
    ) -> None:
        self.bundle = bundle
        self.device = device
        self.precision = precision
        self.threads = threads
        self.graph: InferenceGraph | None = None

    @property
    def description(self) -> EngineDescription:
        """Name, precision and device."""
        return EngineDescription(self.name, self.precision, self.device.type)

    def load(self) -> None:
        """Copy the weights to the device, in the engine's precision."""
        contract = self.bundle.manifest.input
        graph = InferenceGraph(
            fuse(self.bundle.network), contract.mean, contract.std, DTYPES[self.precision]
        )
        self.graph = graph.to(self.device)

    def warm_up_sizes(self, max_batch: int) -> Sequence[int]:
        """Every size takes the same code: the smallest and the largest."""
        return sorted({1, max_batch})

    def stage(self, rows: Sequence[Row]) -> Tensor:
        """Stack rows to (B, 3, h, w) uint8, page-locked where the device is a GPU."""
        batch = torch.from_numpy(np.stack(rows))
        return batch.pin_memory() if self.device.type == "cuda" else batch

    def infer(self, staged: Tensor, asked: frozenset[str]) -> EngineOutputs:
        """Run a staged batch and wait for it; this thread alone waits for the device."""
        self.use_threads()
        with telling_device_loss(self.device), torch.inference_mode():
            pixels = staged.to(self.device, non_blocking=True)
            logits, similarities = self.run(pixels, asked)
            return EngineOutputs(
                logits.cpu().numpy(), {name: n.cpu().numpy() for name, n in similarities.items()}
            )

    def use_threads(self) -> None:
        """Let the calling thread compute with as many threads as the engine may use."""
        if self.threads and torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)  # a property of the calling thread

    def run(self, pixels: Tensor, asked: frozenset[str]) -> Outputs:
        """Run (B, 3, h, w) uint8 that lies on the device."""
        if self.graph is None:
            raise RuntimeError("infer was called before load")
        outputs: Outputs = self.graph(pixels, asked)
        return outputs

    def close(self) -> None:
        """Let go of the weights."""
        self.graph = None
