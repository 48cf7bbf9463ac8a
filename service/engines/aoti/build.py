"""A fused network -> a package: exported, and compiled by AOTInductor into one file.

B: batch, K: classes, G: groups.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from service.engines.aoti.cuda_toolkit import offered_cuda
from service.engines.aoti.kernels.library import Kernels, linking_options
from service.engines.aoti.package import NETWORK, NETWORK_OF_ONE
from service.model.fuse import Classifier
from service.model.graph import InferenceGraph

if TYPE_CHECKING:  # a torch that only runs packages may lack what it names
    from service.engines.aoti.packing import Packing

LARGEST_BATCH = 1024  # that a setting allows
# No power of two: where the example has an image for each thread, the compiler's loops run over
# images alone, and a batch of one on one core.
EXAMPLE_BATCH = 3

Export = Callable[[], ExportedProgram]
"""Exports a program; takes seconds."""

_CALL_BACK = "aoti_torch_proxy_executor_call_function("

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CompiledProgram:
    """The files that the compiler wrote for a program, and what became of its weights."""

    files: list[Any]
    packing: Packing


class ToCompile(NamedTuple):
    """What a package is made of.

    Attributes:
        programs: what exports them, by name.
        kernels: what they call.
        device: where they run.
    """

    programs: Mapping[str, Export]
    kernels: Kernels | None = None
    device: torch.device = torch.device("cpu")


class FlatNetwork(nn.Module):
    """What is exported: the inference graph with a flat list as its output."""

    def __init__(self, graph: InferenceGraph) -> None:
        super().__init__()
        self.inference = graph  # `graph` is what an exported module calls its own

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Run (B, 3, h, w) uint8: logits, features, the parts of every block's raw similarity."""
        network = self.inference.network
        if not isinstance(network, Classifier):
            raise TypeError("only a fused network gives raw similarities")
        logits, features, raw_similarities = network.classify(self.inference.normalised(pixels))
        return [logits.float(), features, *(part for raw in raw_similarities for part in raw)]


def export_network(graph: InferenceGraph, side_px: int) -> ExportedProgram:
    """Export a network for batches of 1 to `LARGEST_BATCH` images.

    Args:
        graph: made of a fused network; it lies on the device where the program will run.
        side_px: of the network's input.
    """
    return export_program(FlatNetwork(graph), _pixels(graph, EXAMPLE_BATCH, side_px))


def export_network_of_one(graph: InferenceGraph, side_px: int) -> ExportedProgram:
    """Export a network for a batch of one; the arguments are `export_network`'s."""
    with torch.no_grad():
        return torch.export.export(FlatNetwork(graph), (_pixels(graph, 1, side_px),))


def _pixels(graph: InferenceGraph, images: int, side_px: int) -> Tensor:
    return torch.zeros(images, 3, side_px, side_px, dtype=torch.uint8, device=graph.shift.device)


def export_program(module: nn.Module, example: Tensor) -> ExportedProgram:
    """Export what takes one tensor, for batches of 1 to `LARGEST_BATCH` images.

    Args:
        module: takes and returns what `FlatNetwork` does.
        example: its input for `EXAMPLE_BATCH` images.
    """
    batch = Dim("batch", min=1, max=LARGEST_BATCH)
    with torch.no_grad():
        return torch.export.export(module, (example,), dynamic_shapes=({0: batch},))


def build_package(
    wanted: ToCompile, package: Path, *, profiled: bool = False
) -> dict[str, Packing]:
    """Compile programs into one file, without one for a batch of one that gains nothing.

    A C++ compiler is needed, for a GPU CUDA's headers, too. A program's weights are part of it. The
    compiler names its files without regard to weights, so each build has a folder of its own.

    Args:
        wanted: what is compiled.
        package: the file to write; the compiler works in its folder, which needs several times its
            size.
        profiled: every kernel tells torch's profiler of itself.

    Returns:
        What became of the weights of each program in the package.

    Raises:
        EngineFailed: it is for a GPU, and CUDA's headers or its driver are missing.
        Exception: whatever the compiler raises.
    """
    # These imports take seconds, and only a build needs them.
    from torch._inductor.package.package import package_aoti  # noqa: PLC0415
    from torch._inductor.utils import fresh_cache  # noqa: PLC0415

    options = {"cpp.enable_kernel_profile": profiled}
    if wanted.kernels is not None:
        options |= linking_options(wanted.kernels)
    is_for_gpu = wanted.device.type != "cpu"
    cuda = offered_cuda(package.parent / "cuda") if is_for_gpu else contextlib.nullcontext()
    with cuda, fresh_cache(dir=str(package.parent)):
        compiled = compile_needed(wanted.programs, functools.partial(_compile, options=options))
        package_aoti(str(package), {name: program.files for name, program in compiled.items()})
    return {name: program.packing for name, program in compiled.items()}


def compile_needed(
    programs: Mapping[str, Export],
    compile_one: Callable[[str, ExportedProgram], CompiledProgram],
) -> dict[str, CompiledProgram]:
    """Compile programs in turn, but not the one for a batch of one where it gains nothing.

    Args:
        programs: by name, what exports them; the one for any batch comes first.
        compile_one: compiles one, which it is told the name of.
    """
    compiled: dict[str, CompiledProgram] = {}
    for name, export in programs.items():
        if name == NETWORK_OF_ONE and not compiled[NETWORK].packing.differs_for_one:
            continue
        compiled[name] = compile_one(name, export())
    return compiled


def _compile(name: str, program: ExportedProgram, *, options: Mapping[str, Any]) -> CompiledProgram:
    from torch._inductor import aot_compile  # noqa: PLC0415 - takes seconds

    from service.engines.aoti.packing import Packing, packing_pass  # noqa: PLC0415

    inputs, _ = program.example_inputs
    is_on_cpu = inputs[0].device.type == "cpu"
    packing = Packing()
    all_options = {
        **options,
        "aot_inductor.package": True,
        # For the two files of a build they take longer than they save.
        "aot_inductor.precompile_headers": False,
        "freezing": is_on_cpu,
        # It would turn (B, H, W, G) into what is best for (B, C, H, W).
        "layout_optimization": not is_on_cpu,
        "cpp.dynamic_threads": True,  # any number of threads may run it
        "post_grad_custom_pre_pass": packing_pass(packing) if is_on_cpu else None,
    }
    with torch.no_grad():
        files: Any = aot_compile(program.module(check_guards=False), inputs, options=all_options)
    _require_own_code(name, files)
    log.info("program is compiled", program=name, **dataclasses.asdict(packing))
    return CompiledProgram(files, packing)


def _require_own_code(name: str, files: Sequence[Any]) -> None:
    """Refuse a program that calls back into torch's dispatcher, which its loader does not offer.

    Raises:
        RuntimeError: it does.
    """
    sources = [Path(str(file)) for file in files if str(file).endswith(".cpp")]
    if any(_CALL_BACK in source.read_text() for source in sources):
        raise RuntimeError(f"the program {name} has an operation that is not compiled")
