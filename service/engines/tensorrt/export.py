"""The inference graph as a program of its own, for a compiler outside torch.

B: batch, K: classes, G: groups.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from service.model.graph import InferenceGraph
from service.model.resnet import FEATURES

INPUT_NAME = "pixels"


class FlatGraph(nn.Module):
    """The inference graph for fixed blocks, with a flat tuple as its output."""

    def __init__(self, graph: InferenceGraph, blocks: tuple[str, ...]) -> None:
        super().__init__()
        self.inference = graph  # `graph` is what an exported module calls its own
        self.blocks = blocks

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Return logits (B, K), features and each block's similarity (B, G, h, w), all float32.

        Args:
            pixels: (B, 3, h, w), 0 to 255, any dtype.
        """
        logits, similarities, features = self.inference(pixels, {*self.blocks, FEATURES})
        return (logits, features, *similarities.values())


def export_graph(
    graph: InferenceGraph,
    blocks: tuple[str, ...],
    image_shape: tuple[int, int, int],
    max_batch: int,
    device: torch.device,
) -> ExportedProgram:
    """Export the inference graph for batches of 1 to `max_batch` images.

    A reduction whose sum is wider than its input says so by a cast of the input, never by its
    `dtype`, which Torch-TensorRT passes over: it would sum in half precision.

    Args:
        graph: lies on `device`.
        blocks: names in the network's order, whose similarities follow the features.
        image_shape: (3, h, w).
        max_batch: images in the largest batch.
        device: where the program runs.

    Returns:
        A program that takes `INPUT_NAME`, (B, 3, h, w), 0 to 255, in the graph's dtype.
    """
    example = torch.zeros(min(2, max_batch), *image_shape, dtype=graph.dtype, device=device)
    batch = Dim("batch", min=1, max=max_batch) if max_batch > 1 else None
    program = torch.export.export(
        FlatGraph(graph, blocks), (example,), dynamic_shapes={INPUT_NAME: {0: batch}}
    )
    aten = torch.ops.aten
    widened: ExportedProgram = program.run_decompositions(
        {aten.mean.dim: _widened(torch.mean), aten.sum.dim_IntList: _widened(torch.sum)}
    )
    return widened


def _widened(reduction: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The same reduction with its `dtype` turned into a cast of the input."""

    def decomposition(x: Tensor, *dimensions: object, dtype: torch.dtype | None = None) -> Tensor:
        return NotImplemented if dtype is None else reduction(x.to(dtype), *dimensions)

    return decomposition
