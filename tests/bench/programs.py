"""Programs of the compiled engine's making that it does not serve: the network without SGE."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import torch

from service.engines.aoti.build import (
    ToCompile,
    build_package,
    export_network,
    export_network_of_one,
)
from service.engines.aoti.kernels.library import kernels_of_this_process
from service.engines.aoti.kernels.measure import can_take, layers_of, measure
from service.engines.aoti.kernels.network import ONEDNN, KernelBlock, with_kernels
from service.engines.aoti.package import NETWORK, NETWORK_OF_ONE, Program, load_package
from service.model.fuse import FusedResNet
from service.store.load import LoadedModel
from tests.bench.entrants import CannotRun
from tests.bench.networks import FUSED, graph_of

CPU = torch.device("cpu")


def plain_by_kernels(model: LoadedModel) -> ToCompile:
    """The network without SGE for the compiler, its convolutions chosen as the engine's are.

    It is the fused one, whose channels stand in another order, with nothing between a branch and
    its shortcut. No layer is measured as one that SGE follows.

    Raises:
        CannotRun: oneDNN keeps every convolution.
        RuntimeError: there is no compiler, or it fails.
    """
    side_px = model.manifest.input.size_px
    kernels = kernels_of_this_process()
    graph = graph_of(model, FUSED, "fp32")
    fused: FusedResNet = graph.network  # type: ignore[assignment]
    layers = {conv: layer._replace(groups=0) for conv, layer in layers_of(fused, side_px)}
    with torch.inference_mode():
        choices = {
            layer: measure(layer, kernels).choice(kernels.panel)
            if can_take(layer, kernels.panel)
            else ONEDNN
            for layer in set(layers.values())
        }
    if all(choice.panel is None for choice in choices.values()):
        raise CannotRun("oneDNN is faster at every convolution")
    network = with_kernels(fused, lambda convolution: choices[layers[convolution]])
    for block in network.modules():
        if isinstance(block, KernelBlock):
            block.enhance = None
    graph.network = network  # type: ignore[assignment]  # the compiler asks for `classify` alone
    programs = {
        NETWORK: functools.partial(export_network, graph, side_px),
        NETWORK_OF_ONE: functools.partial(export_network_of_one, graph, side_px),
    }
    return ToCompile(programs, kernels)


def compiled_program(wanted: ToCompile, *, profiled: bool = False) -> Program:
    """Compile for the CPU and load, as the engine does; `profiled` is `build_package`'s."""
    with tempfile.TemporaryDirectory(prefix="sge-bench-") as folder:
        path = Path(folder) / "package.pt2"
        build_package(wanted, path, profiled=profiled)
        with path.open("rb") as package:
            return load_package(package, CPU)
