"""A fused network -> a package: its programs exported, and compiled by AOTInductor into one file.

B: batch, K: classes, G: groups.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from service.engines.aoti.package import FRONT, FRONT_OF_ONE, OF_ONE, REAR, REAR_OF_ONE
from service.model.fuse import FusedResNet
from service.model.graph import InferenceGraph

if TYPE_CHECKING:  # a torch that only runs packages may lack what it names
    from service.engines.aoti.packing import Packing

LARGEST_BATCH = 1024  # that a setting allows
# No power of two: where the example has an image for each thread, the compiler's loops run over
# images alone, and a batch of one on one core.
EXAMPLE_BATCH = 3

_CALL_BACK = "aoti_torch_proxy_executor_call_function("

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CompiledProgram:
    """The files that the compiler wrote for a program, and what became of its weights."""

    files: list[Any]
    packing: Packing


class Front(nn.Module):
    """What is exported as the front."""

    def __init__(self, graph: InferenceGraph) -> None:
        super().__init__()
        self.inference = graph  # `graph` is what an exported module calls its own

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Run (B, 3, h, w) uint8."""
        maps, raw_similarities = _network(self.inference).front(self.inference.normalised(pixels))
        return [maps, *(part for raw in raw_similarities for part in raw)]


class Rear(nn.Module):
    """What is exported as the rear."""

    def __init__(self, graph: InferenceGraph) -> None:
        super().__init__()
        self.inference = graph

    def forward(self, maps: Tensor) -> list[Tensor]:
        """Run the maps of stage 1."""
        logits, raw_similarities = _network(self.inference).rear(maps)
        return [logits.float(), *(part for raw in raw_similarities for part in raw)]


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


def export_programs_of_one(graph: InferenceGraph, side_px: int) -> dict[str, ExportedProgram]:
    """Export both programs for a batch of one; the arguments are `export_programs`'s."""
    pixels = torch.zeros(1, 3, side_px, side_px, dtype=torch.uint8, device=graph.shift.device)
    with torch.no_grad():
        maps = Front(graph)(pixels)[0]
        return {
            FRONT_OF_ONE: torch.export.export(Front(graph), (pixels,)),
            REAR_OF_ONE: torch.export.export(Rear(graph), (maps,)),
        }


def export_program(module: nn.Module, example: Tensor) -> ExportedProgram:
    """Export what takes one tensor, for batches of 1 to `LARGEST_BATCH` images.

    Args:
        module: takes and returns what one of the two programs does.
        example: its input for `EXAMPLE_BATCH` images.
    """
    batch = Dim("batch", min=1, max=LARGEST_BATCH)
    return torch.export.export(module, (example,), dynamic_shapes=({0: batch},))


def build_package(
    programs: Mapping[str, ExportedProgram], package: Path, *, profiled: bool = False
) -> dict[str, Packing]:
    """Compile exported programs into one file, without those for a batch of one that gain nothing.

    A C++ compiler is needed on a CPU. A program's weights are part of it. The compiler names its
    files without regard to weights, so each build has a folder of its own.

    Args:
        programs: by name.
        package: the file to write.
        profiled: every kernel tells torch's profiler of itself.

    Returns:
        What became of the weights of each program in the package.

    Raises:
        Exception: whatever the compiler raises.
    """
    # These imports take seconds, and only a build needs them.
    from torch._inductor.package.package import package_aoti  # noqa: PLC0415
    from torch._inductor.utils import fresh_cache  # noqa: PLC0415

    with fresh_cache():
        compiled = compile_needed(programs, functools.partial(_compile, profiled=profiled))
        package_aoti(str(package), {name: program.files for name, program in compiled.items()})
    return {name: program.packing for name, program in compiled.items()}


def compile_needed(
    programs: Mapping[str, ExportedProgram],
    compile_one: Callable[[str, ExportedProgram], CompiledProgram],
) -> dict[str, CompiledProgram]:
    """Compile programs in turn, but for those for a batch of one that gain nothing.

    Args:
        programs: by name; one for any batch comes before the same for a batch of one.
        compile_one: compiles one, which it is told the name of.
    """
    compiled: dict[str, CompiledProgram] = {}
    needless: set[str] = set()
    for name, program in programs.items():
        if name in needless:
            continue
        compiled[name] = compile_one(name, program)
        if name in OF_ONE and not compiled[name].packing.differs_for_one:
            needless.add(OF_ONE[name])
    return compiled


def _compile(name: str, program: ExportedProgram, *, profiled: bool) -> CompiledProgram:
    from torch._inductor import aot_compile  # noqa: PLC0415 - takes seconds

    from service.engines.aoti.packing import Packing, packing_pass  # noqa: PLC0415

    inputs, _ = program.example_inputs
    is_on_cpu = inputs[0].device.type == "cpu"
    if not is_on_cpu:
        offer_cuda_headers()
    packing = Packing()
    options = {
        "aot_inductor.package": True,
        "freezing": is_on_cpu,
        # It would turn (B, H, W, G) into what is best for (B, C, H, W).
        "layout_optimization": not is_on_cpu,
        "cpp.dynamic_threads": True,  # any number of threads may run it
        "cpp.enable_kernel_profile": profiled,
        "post_grad_custom_pre_pass": packing_pass(packing) if is_on_cpu else None,
    }
    with torch.no_grad():
        files: Any = aot_compile(program.module(check_guards=False), inputs, options=options)
    _require_own_code(name, files)
    log.info("program is compiled", program=name, **dataclasses.asdict(packing))
    return CompiledProgram(files, packing)


def offer_cuda_headers() -> None:
    """Show torch CUDA's headers, for which it looks in one place."""
    from torch.utils import cpp_extension  # noqa: PLC0415

    cpp_extension.CUDA_HOME = cuda_home(cpp_extension.CUDA_HOME)


def cuda_home(toolkit: str | None) -> str | None:
    """Where CUDA's headers are: in the toolkit, else in the wheels (extra `[cuda]`), if anywhere.

    Args:
        toolkit: the folder of the one that is installed; None where there is none.
    """
    return toolkit or cuda_of_wheels()


def cuda_of_wheels() -> str | None:
    """The folder into which wheels put CUDA, if they did."""
    spec = importlib.util.find_spec("nvidia")
    places = spec.submodule_search_locations if spec else None
    found = [path for place in places or () for path in Path(place).glob("cu*/include/crt")]
    return str(found[0].parent.parent) if found else None


def _require_own_code(name: str, files: Sequence[Any]) -> None:
    """Refuse a program that calls back into torch's dispatcher, which its loader does not offer.

    Raises:
        RuntimeError: it does.
    """
    sources = [Path(str(file)) for file in files if str(file).endswith(".cpp")]
    if any(_CALL_BACK in source.read_text() for source in sources):
        raise RuntimeError(f"the program {name} has an operation that is not compiled")
