"""The eager engine: the graph as PyTorch runs it."""

from __future__ import annotations

import torch
from torch import Tensor

from service.engines.gpu_memory import give_back
from service.engines.torch_engine import TorchEngine
from service.model.graph import InferenceGraph
from service.model.resnet import Outputs
from service.store.load import LoadedModel


class EagerEngine(TorchEngine):
    """Runs the inference graph without compiling it.

    Args:
        model: the model; its network is copied.
        device: where the graph runs.
        precision: `fp32`, `bf16` or `fp16`.
        threads: of one forward pass on a CPU; 0 leaves torch's default, every core.
    """

    name = "eager"

    def __init__(
        self, model: LoadedModel, device: torch.device, precision: str, threads: int = 0
    ) -> None:
        super().__init__(model, device, precision, threads)
        self.graph: InferenceGraph | None = None

    def load(self) -> None:
        """Copy the weights to the device, in the engine's precision.

        Raises:
            EngineFailed: a GPU's memory is too little for them.
        """
        self.require_memory(self.weight_bytes(self.precision))
        with self.on_device():
            self.graph = self.fused_graph(self.precision)

    def run(self, pixels: Tensor, extras: frozenset[str]) -> Outputs:
        """Run (B, 3, h, w) uint8 that lies on the device."""
        if self.graph is None:
            raise RuntimeError("infer was called before load")
        outputs: Outputs = self.graph(pixels, extras)
        return outputs

    def close(self) -> None:
        """Let go of the weights."""
        self.graph = None
        give_back(self.device)
