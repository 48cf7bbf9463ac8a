"""The exported inference graph: what it computes, and that TensorRT could."""

from __future__ import annotations

import functools

import pytest
import torch
from torch.export import ExportedProgram

from service.engines.tensorrt.export import export_graph
from service.images.contract import IMAGENET_MEAN, IMAGENET_STD
from service.model.fuse import fuse
from service.model.graph import InferenceGraph
from service.model.resnet import FEATURES, ResNetSpec, SgeResNet
from tests.engine_builders import CPU
from tests.engines.networks import BASIC, BOTTLENECKS
from tests.engines.tensorrt.conversion import record, refusals
from tests.store_fixtures import random_network


def graph_of(spec: ResNetSpec, dtype: torch.dtype) -> InferenceGraph:
    """The inference graph of a network with random weights."""
    network = random_network(SgeResNet, spec)
    return InferenceGraph(fuse(network), IMAGENET_MEAN, IMAGENET_STD, dtype)


def images(count: int, dtype: torch.dtype) -> torch.Tensor:
    """Noise (B, 3, 32, 32), whole numbers from 0 to 255."""
    generator = torch.Generator().manual_seed(7)
    return torch.randint(0, 256, (count, 3, 32, 32), generator=generator).to(dtype)


@functools.cache
def exported(spec: ResNetSpec) -> tuple[InferenceGraph, ExportedProgram]:
    """A graph and its program with every mask.

    The batch is dynamic, and the precision half, so that casts are in the graph too.
    """
    graph = graph_of(spec, torch.float16)
    image_shape = (3, spec.input_px, spec.input_px)
    return graph, export_graph(graph, blocks_of(spec), image_shape, 4, CPU)


def blocks_of(spec: ResNetSpec) -> tuple[str, ...]:
    """The names of every block."""
    return tuple(block.name for block in spec.blocks())


@pytest.mark.slow
def test_a_program_runs_any_batch_up_to_the_largest() -> None:
    """One program gives the graph's own numbers for 1, 2 and 4 images."""
    graph, program = exported(BASIC)
    run = program.module()

    for count in (1, 2, 4):
        pixels = images(count, torch.float16)
        logits, features, *similarities = run(pixels)
        expected = graph(pixels, {*blocks_of(BASIC), FEATURES})
        torch.testing.assert_close(logits, expected.logits)
        torch.testing.assert_close(features, expected.features)
        torch.testing.assert_close(similarities, [*expected.similarities.values()])


@pytest.mark.slow
@pytest.mark.parametrize("spec", [BASIC, BOTTLENECKS], ids=lambda spec: spec.architecture)
def test_every_operation_has_a_converter(spec: ResNetSpec) -> None:
    """Torch-TensorRT converts each node of the graph with all that the node says."""
    _, program = exported(spec)

    assert refusals(program) == []


class NarrowSum(torch.nn.Module):
    """Says the dtype of a sum by an argument, which Torch-TensorRT's converter passes over."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Sum (B, N) to (B,) float32."""
        return x.sum(dim=1, dtype=torch.float32)


class Bessel(torch.nn.Module):
    """Calls an operation that no converter knows."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the Bessel function to each number of (B, N)."""
        transformed: torch.Tensor = torch.special.bessel_j0(x)
        return transformed


@pytest.mark.parametrize(
    ("module", "told"),
    [
        (NarrowSum(), "aten.sum.dim_IntList 2 arguments, ['dtype']"),
        (Bessel(), "aten.special_bessel_j0.default 1 arguments, []"),
    ],
)
def test_what_has_no_converter_is_told(module: torch.nn.Module, told: str) -> None:
    """The check above can fail: for an unknown operation, and for an argument nobody reads."""
    batch = torch.export.Dim("batch", min=1, max=8)
    example = torch.zeros(2, 4)

    program = torch.export.export(module, (example,), dynamic_shapes={"x": {0: batch}})

    assert refusals(program) == [told]


def test_the_record_knows_the_converters_of_a_residual_network() -> None:
    """The list was read from the whole registry, and tells which converters ignore what."""
    converters = record()["converters"]

    assert len(converters) > 200
    assert converters["aten.relu.default"] == [
        {"dynamic": True, "check": None, "positions": [0], "keywords": []}
    ]
