"""The compiled engine: the fused graph, compiled ahead of time and kept between starts."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog
import torch
from torch import Tensor

from service.engines.aoti.build import (
    Export,
    ToCompile,
    build_package,
    export_network,
    export_network_of_one,
)
from service.engines.aoti.cuda_graphs import RecordedProgram, bytes_to_record
from service.engines.aoti.kernels.library import Kernels, kernel_sources
from service.engines.aoti.package import NETWORK, NETWORK_OF_ONE, Program, load_package
from service.engines.artifact_cache import ArtifactCache
from service.engines.background_build import Build
from service.engines.gpu_memory import give_back, why_too_little
from service.engines.identity import (
    GRAPH_SOURCES,
    identity_of,
    model_parts,
    platform_parts,
    source_parts,
)
from service.engines.torch_engine import TorchEngine
from service.errors import EngineFailed
from service.model.graph import InferenceGraph
from service.model.raw_outputs import RawSimilarity, in_groups
from service.model.resnet import FEATURES, Outputs
from service.store.load import LoadedModel

log = structlog.stdlib.get_logger(__name__)

KERNEL_MODULES = ("library", "measure", "network", "operators", "use", "weights")
COPIES = 3  # of the weights in a package: two with a program for one image, and room for the code
COPIES_FOR_KERNELS = 6  # those for Winograd's method are four times as large


class CompiledEngine(TorchEngine):
    """Runs a package (see `package`), built once for a model and a machine.

    On a GPU, CUDA records its program for buckets of batch sizes (see `cuda_graphs`).

    Args:
        model: the model; its network is copied.
        device: where it runs.
        precision: `fp32`, `bf16` or `fp16`.
        threads: of one forward pass on a CPU; 0 leaves torch's default, every core.
        max_batch: images in the largest batch.
        cache_dir: where packages are kept.
        cache_limit_bytes: of all packages together; None keeps every one.
        build: fills a cache folder where no package is kept; None compiles in this process.
    """

    name = "compiled"
    sources: tuple[str, ...] = (
        *GRAPH_SOURCES,
        __name__,
        "service.engines.aoti.packing",
        "service.engines.aoti.build",
        "service.engines.aoti.cuda_toolkit",
        "service.engines.aoti.package",
        *(f"service.engines.aoti.kernels.{module}" for module in KERNEL_MODULES),
    )
    """The modules whose change outdates every package."""
    processor: Mapping[str, object] | None = None
    """For which processor packages are named; None for this machine's."""

    def __init__(
        self,
        model: LoadedModel,
        device: torch.device,
        precision: str,
        threads: int = 0,
        *,
        max_batch: int,
        cache_dir: Path,
        cache_limit_bytes: int | None = None,
        build: Build | None = None,
    ) -> None:
        super().__init__(model, device, precision, threads)
        self.max_batch = max_batch
        self.build = build
        self.files = ArtifactCache(cache_dir / self.name, cache_limit_bytes)
        self.program: Program | None = None

    @functools.cached_property
    def key(self) -> str:
        """Stands for all that a package depends on."""
        return self.identity()

    def identity(self) -> str:
        """Condense what a package depends on."""
        return identity_of(
            platform_parts(self.device, self.processor),
            source_parts(self.sources),
            kernel_sources(),
            model_parts(self.model),
            self.precision,
        )

    @property
    def _unloadable(self) -> str:
        """The file that remembers a package which was new, and could not be loaded."""
        return f"{self.key}-unloadable"

    @property
    def is_built(self) -> bool:
        """Whether `load` will find a package, and so take a moment.

        Only `load` reads the package. One that is damaged it builds anew, which takes longer.
        """
        return self.files.holds(self.key)

    def load_kept(self) -> bool:
        """Load the package if there is a sound one, and say so; nothing is built."""
        self.use_threads()
        program = self._kept(self.files)
        if program is not None:
            self.program = self._recorded(program) if self.device.type == "cuda" else program
        return program is not None

    def load(self) -> None:
        """Load the package; build it first where there is none, or none that is sound.

        Raises:
            EngineFailed: the process that compiles has failed, or what it made cannot be loaded,
                now or when it was made before, or a GPU's memory is too little for it.
            Exception: the compiler is missing or fails.
        """
        if self.load_kept():
            return
        if self.files.holds(self._unloadable):
            raise EngineFailed(
                f"what was compiled cannot be loaded here; to try again, remove "
                f"{self.files.folder / self._unloadable}"
            )
        program = self._built()
        self.program = self._recorded(program) if self.device.type == "cuda" else program

    def run(self, pixels: Tensor, extras: frozenset[str]) -> Outputs:
        """Run (B, 3, h, w) uint8 that lies on the device."""
        if self.program is None:
            raise RuntimeError("infer was called before load")
        logits, features, *parts = self.program([pixels])
        size, spec = len(RawSimilarity._fields), self.model.manifest.spec
        similarities = {
            block.name: RawSimilarity(*parts[index * size : (index + 1) * size]).similarity()
            for index, block in enumerate(spec.blocks())
            if block.name in extras
        }
        asked = in_groups(features, spec.groups).float() if FEATURES in extras else None
        return Outputs(logits, similarities, asked)

    def warm_up_sizes(self, max_batch: int) -> Sequence[int]:
        """One image, which may have a program of its own, and several."""
        return sorted({1, min(max_batch, 2)})

    def close(self) -> None:
        """Let go of the program, and with it of the weights."""
        self.program = None
        give_back(self.device)

    def to_compile(self) -> ToCompile:
        """The network for any batch, on a CPU for one image, too."""
        side_px = self.model.manifest.input.size_px
        graph = self.fused_graph(self.precision)
        kernels = self._with_kernels(graph)
        programs: dict[str, Export] = {NETWORK: functools.partial(export_network, graph, side_px)}
        if self.device.type == "cpu":
            programs[NETWORK_OF_ONE] = functools.partial(export_network_of_one, graph, side_px)
        return ToCompile(programs, kernels, self.device)

    @property
    def _may_have_kernels(self) -> bool:
        """Kernels of our own know float32 on a CPU."""
        return (self.device.type, self.precision) == ("cpu", "fp32")

    def _with_kernels(self, graph: InferenceGraph) -> Kernels | None:
        """Let kernels of our own compute what they are faster at."""
        if not self._may_have_kernels:
            return None
        # Only a build needs it, and what it registers with torch.
        from service.engines.aoti.kernels.use import use_kernels  # noqa: PLC0415

        self.use_threads()
        return use_kernels(graph, self.model.manifest.input.size_px)

    def compile_into(self, files: ArtifactCache) -> None:
        """Build the package in this process.

        Args:
            files: where it is put.

        Raises:
            OSError: it cannot be written there.
            Exception: the compiler is missing or fails.
        """
        log.info("engine is being compiled", model=self.model.key, precision=self.precision)
        started = time.monotonic()
        with files.workspace() as folder:
            path = folder / "package.pt2"
            build_package(self.to_compile(), path)
            with path.open("rb") as package:
                files.write(self.key, package)
        seconds = round(time.monotonic() - started, 1)
        log.info("engine is compiled", model=self.model.key, seconds=seconds)

    def _kept(self, files: ArtifactCache) -> Program | None:
        """Load what was built; None where there is nothing, or nothing of use.

        Raises:
            EngineFailed: a GPU's memory is too little for it, or the GPU is lost, which says
                nothing of what was built.
        """
        package = files.open(self.key)
        if package is None:
            return None
        with package:
            self.require_memory(os.fstat(package.fileno()).st_size)  # nearly all of it is weights
            try:
                with self.on_device():
                    return load_package(package, self.device)
            except RuntimeError as error:
                if "out of memory" in str(error):  # of a GPU: no fault of what was built
                    raise EngineFailed(f"no memory for what was compiled: {error}") from error
                log.warning("what was compiled cannot be loaded", reason=str(error))
                return None

    def _built(self) -> Program:
        """Build the package and load it; where it cannot be kept, it serves this time only."""
        with self.files.with_room_for(self._largest_package()) as files:
            if self.build is None:
                self.compile_into(files)
            else:
                self.build(files.folder.parent)
            program = self._kept(files)
            is_there = files.holds(self.key)
        if program is None and is_there:
            self.files.keep(self._unloadable, b"")  # no start compiles it once more
            raise EngineFailed("what was compiled cannot be loaded here")
        if program is None:
            raise EngineFailed("what was compiled is not there: has the model been changed?")
        return program

    @torch.inference_mode()
    def _recorded(self, program: Program) -> Program:
        """Have CUDA record the program; one that cannot be recorded runs as it is, slower."""
        side_px = self.model.manifest.input.size_px
        shape = (self.max_batch, 3, side_px, side_px)
        try:
            with self.on_device():
                example = torch.zeros(shape, dtype=torch.uint8, device=self.device)
                needed_bytes = bytes_to_record(program, example)
                reason = why_too_little(needed_bytes, self.device)
                if reason is None:
                    recorded = RecordedProgram(program, example)
                    log.info("CUDA has recorded the program", mb=round(needed_bytes / 1e6))
                    return recorded
        except RuntimeError as error:
            reason = str(error)
        log.warning("CUDA does not record the program", reason=reason)
        give_back(self.device)
        return program

    def _largest_package(self) -> int:
        """Bytes that a package may take; int8 keeps some of its weights in more than 8 bits."""
        share = {"fp32": 1.0}.get(self.precision, 0.5)
        copies = COPIES_FOR_KERNELS if self._may_have_kernels else COPIES
        return int(copies * share * self.model.weight_bytes)
