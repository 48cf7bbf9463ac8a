"""Ahead-of-time compiled programs: built by AOTInductor, kept as one file, loaded in a moment.

A network becomes two programs, its front and its rear (see `FusedResNet`), both for any batch. Each
returns a flat list: what it computes, then `values`, `scale` and `shift` of every block's likeness.

B: batch, K: classes, G: groups.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from service.engines.unlocked import load_unlocked
from service.model.fuse import FusedResNet, Likeness
from service.model.graph import InferenceGraph

Program = Callable[[list[Tensor]], list[Tensor]]
"""Takes its one input in a list, which it empties."""

FRONT, REAR = "front", "rear"
LARGEST_BATCH = 1024  # that a setting allows
EXAMPLE_BATCH = 2  # the smallest that torch.export does not take for a constant


@dataclass(frozen=True, slots=True)
class Programs:
    """Both programs of a network, loaded.

    Attributes:
        front: pixels (B, 3, h, w) uint8 -> the maps of stage 1, likeness of its blocks.
        rear: the maps of stage 1 -> logits (B, K) float32, likeness of the other blocks.
    """

    front: Program
    rear: Program


class Front(nn.Module):
    """What is exported as the front."""

    def __init__(self, graph: InferenceGraph) -> None:
        super().__init__()
        self.inference = graph  # `graph` is what an exported module calls its own

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Run (B, 3, h, w) uint8."""
        maps, likenesses = _network(self.inference).front(self.inference.normalised(pixels))
        return [maps, *(part for likeness in likenesses for part in likeness)]


class Rear(nn.Module):
    """What is exported as the rear."""

    def __init__(self, graph: InferenceGraph) -> None:
        super().__init__()
        self.inference = graph

    def forward(self, maps: Tensor) -> list[Tensor]:
        """Run the maps of stage 1."""
        logits, likenesses = _network(self.inference).rear(maps)
        return [logits.float(), *(part for likeness in likenesses for part in likeness)]


def _network(graph: InferenceGraph) -> FusedResNet:
    if not isinstance(graph.network, FusedResNet):
        raise TypeError("only a fused network has a front and a rear")
    return graph.network


def export_programs(graph: InferenceGraph, side_px: int) -> dict[str, ExportedProgram]:
    """Export both programs, for batches of 1 to `LARGEST_BATCH` images.

    Args:
        graph: made of a fused network; it lies on the device where the programs will run.
        side_px: of the network's input.
    """
    pixels = torch.zeros(
        EXAMPLE_BATCH, 3, side_px, side_px, dtype=torch.uint8, device=graph.shift.device
    )
    with torch.no_grad():
        maps = Front(graph)(pixels)[0]
        return {
            FRONT: export_program(Front(graph), pixels),
            REAR: export_program(Rear(graph), maps),
        }


def export_program(module: nn.Module, example: Tensor) -> ExportedProgram:
    """Export what takes one tensor, for batches of 1 to `LARGEST_BATCH` images.

    Args:
        module: takes and returns what one of the two programs does.
        example: its input for `EXAMPLE_BATCH` images.
    """
    batch = Dim("batch", min=1, max=LARGEST_BATCH)
    return torch.export.export(module, (example,), dynamic_shapes=({0: batch},))


def build_package(programs: dict[str, ExportedProgram], package: Path) -> None:
    """Compile exported programs into one file.

    A C++ compiler is needed on a CPU. A program's weights are part of it. The compiler names its
    files without regard to weights, so each build has a folder of its own.

    Raises:
        Exception: whatever the compiler raises.
    """
    # These imports take seconds, and only a build needs them.
    from torch._inductor import aot_compile  # noqa: PLC0415
    from torch._inductor.package.package import package_aoti  # noqa: PLC0415
    from torch._inductor.utils import fresh_cache  # noqa: PLC0415

    files: dict[str, Any] = {}
    with fresh_cache():
        for name, program in programs.items():
            inputs, _ = program.example_inputs
            is_on_cpu = inputs[0].device.type == "cpu"
            options = {
                "aot_inductor.package": True,
                "freezing": is_on_cpu,
                # It would turn (B, H, W, G) into what is best for (B, C, H, W).
                "layout_optimization": not is_on_cpu,
                "cpp.dynamic_threads": True,  # any number of threads may run it
            }
            with torch.no_grad():
                module = program.module(check_guards=False)
                files[name] = aot_compile(module, inputs, options=options)
        package_aoti(str(package), files)


def load_package(package: Path, device: torch.device) -> Programs:
    """Load both programs of a package; takes a moment and imports no compiler.

    Args:
        package: the file; it may be removed once it is loaded.
        device: for which it was built.

    Raises:
        RuntimeError: the file is no package, or one of another torch.
    """

    def loaded(name: str) -> Program:
        if device.type == "cpu":
            return load_unlocked(package, name)
        # Alone in its thread, a program needs no locks, which would break a capture by CUDA.
        loader = torch._C._aoti.AOTIModelPackageLoader(str(package), name, True, 1, -1)  # noqa: SLF001
        return loader.boxed_run

    return Programs(loaded(FRONT), loaded(REAR))


@dataclass(frozen=True, slots=True)
class Joined:
    """What a program returned for the pieces of a batch, put together where it is looked at."""

    runs: list[list[Tensor]]

    @property
    def result(self) -> Tensor:
        """What the program computes, for the batch."""
        return self._part(0)

    def likeness(self, index: int) -> Likeness:
        """Likeness of the program's block of that index, for the batch."""
        start = 1 + index * len(Likeness._fields)
        return Likeness(*(self._part(start + offset) for offset in range(len(Likeness._fields))))

    def _part(self, index: int) -> Tensor:
        first, *others = [run[index] for run in self.runs]
        return torch.cat([first, *others]) if others else first


def run_in_pieces(program: Program, batch: Tensor, piece: int) -> Joined:
    """Run a batch, `piece` images at a time."""
    return Joined([program([part]) for part in torch.split(batch, piece)])
