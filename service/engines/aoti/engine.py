"""The compiled engine: the fused graph, compiled ahead of time and kept between starts."""

from __future__ import annotations

import functools
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import structlog
import torch
from torch import Tensor
from torch.export import ExportedProgram

from service.engines.aoti.build import build_package, export_programs, export_programs_of_one
from service.engines.aoti.cuda_graphs import RecordedProgram
from service.engines.aoti.microbatch import (
    MicroBatches,
    fastest_micro_batches,
    run_in_micro_batches,
)
from service.engines.aoti.package import Programs, load_package
from service.engines.artifact_cache import ArtifactCache
from service.engines.background_build import Build
from service.engines.identity import (
    GRAPH_SOURCES,
    identity_of,
    model_parts,
    platform_parts,
    source_parts,
)
from service.engines.torch_engine import TorchEngine
from service.errors import EngineFailed
from service.model.resnet import Outputs
from service.store.load import LoadedModel

log = structlog.stdlib.get_logger(__name__)

COPIES = 3  # of the weights in a package: two with programs for one image, and room for the code


class CompiledEngine(TorchEngine):
    """Runs a package of two programs (see `package`), built once for a model and a machine.

    Either program may take a batch in micro-batches: on a CPU the maps of a few images fit the
    caches where those of a batch do not, but each micro-batch reads the weights again. Which is
    faster is measured when the package is built. On a GPU, CUDA records each program for buckets
    of batch sizes (see `cuda_graphs`).

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
        "service.engines.aoti.package",
    )
    """The modules whose change outdates every package."""

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
        self.programs: Programs | None = None
        self.micro_batches = MicroBatches(max_batch, max_batch)

    @functools.cached_property
    def key(self) -> str:
        """Stands for all that a package depends on."""
        return self.identity()

    def identity(self) -> str:
        """Condense what a package depends on."""
        return identity_of(
            platform_parts(self.device),
            source_parts(self.sources),
            model_parts(self.model),
            self.precision,
        )

    @property
    def is_built(self) -> bool:
        """Whether `load` will find a package, and so take a moment.

        Only `load` reads the package. One that is damaged it builds anew, which takes longer.
        """
        return self.files.holds(self.key)

    def load(self) -> None:
        """Load the package; build it first where there is none, or none that is sound.

        Raises:
            EngineFailed: the process that compiles has failed.
            Exception: the compiler is missing or fails.
        """
        self.use_threads()
        self.programs = self._kept(self.files) or self._built()
        if self.device.type == "cuda":
            self.programs = self._recorded(self.programs)
        else:
            self.micro_batches = self._measured_micro_batches(self.programs)

    def run(self, pixels: Tensor, blocks: frozenset[str]) -> Outputs:
        """Run (B, 3, h, w) uint8 that lies on the device."""
        if self.programs is None:
            raise RuntimeError("infer was called before load")
        front = run_in_micro_batches(self.programs.front, pixels, self.micro_batches.front)
        rear = run_in_micro_batches(self.programs.rear, front.result, self.micro_batches.rear)
        similarities = {}
        stage1 = self.model.manifest.spec.depth.repeats[0]
        for index, block in enumerate(self.model.manifest.spec.blocks()):
            if block.name in blocks:
                part = (
                    front.raw_similarity(index)
                    if index < stage1
                    else rear.raw_similarity(index - stage1)
                )
                similarities[block.name] = part.similarity()
        return Outputs(rear.result, similarities)

    def warm_up_sizes(self, max_batch: int) -> Sequence[int]:
        """One image, and the largest micro-batch: no batch has a larger one."""
        return sorted({1, min(max_batch, max(self.micro_batches))})

    def close(self) -> None:
        """Let go of the programs, and with them of the weights."""
        self.programs = None

    def exported(self) -> dict[str, ExportedProgram]:
        """What is compiled: both programs of the network, on a CPU those for one image, too."""
        side_px = self.model.manifest.input.size_px
        graph = self.fused_graph(self.precision)
        of_one = export_programs_of_one(graph, side_px) if self.device.type == "cpu" else {}
        return export_programs(graph, side_px) | of_one

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
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "programs.pt2"
            build_package(self.exported(), path)
            with path.open("rb") as package:
                files.write(self.key, package)
        seconds = round(time.monotonic() - started, 1)
        log.info("engine is compiled", model=self.model.key, seconds=seconds)

    def _kept(self, files: ArtifactCache) -> Programs | None:
        """Load what was built; None where there is nothing, or nothing of use."""
        package = files.open(self.key)
        if package is None:
            return None
        with package:
            try:
                return load_package(package, self.device)
            except RuntimeError as error:
                log.warning("what was compiled cannot be loaded", reason=str(error))
                return None

    def _built(self) -> Programs:
        """Build the package and load it; where it cannot be kept, it serves this time only."""
        with tempfile.TemporaryDirectory() as folder:
            files = self.files
            if reason := files.why_not(self._largest_package()):
                folder_name = str(files.folder)
                log.warning("not kept for the next start", folder=folder_name, reason=reason)
                files = ArtifactCache(Path(folder) / self.name)
            if self.build is None:
                self.compile_into(files)
            else:
                self.build(files.folder.parent)
            programs = self._kept(files)
        if programs is None:
            raise EngineFailed("what was compiled is not there: has the model been changed?")
        return programs

    def _measured_micro_batches(self, programs: Programs) -> MicroBatches:
        """Read how large micro-batches are, or measure it."""
        name = f"{self.key}-microbatches-{self.max_batch}-{torch.get_num_threads()}"
        known = self.files.read(name)
        if known is None:
            measured = fastest_micro_batches(programs, self._largest_batch())
            known = json.dumps(measured._asdict()).encode()
            self.files.keep(name, known)
        return MicroBatches(**json.loads(known))

    @torch.inference_mode()
    def _recorded(self, programs: Programs) -> Programs:
        """Have CUDA record both programs; a bucket is what a micro-batch is on a CPU.

        Programs that cannot be recorded run as they are, which is slower and no less right.
        """
        pixels = self._largest_batch()
        maps, *_ = programs.front([pixels])
        try:
            return Programs(
                RecordedProgram(programs.front, pixels), RecordedProgram(programs.rear, maps)
            )
        except RuntimeError as error:
            log.warning("CUDA does not record the programs", reason=str(error))
            return programs

    def _largest_package(self) -> int:
        """Bytes that a package may take; int8 keeps some of its weights in more than 8 bits."""
        share = {"fp32": 1.0}.get(self.precision, 0.5)
        return int(COPIES * share * self.model.weight_bytes)

    def _largest_batch(self) -> Tensor:
        side_px = self.model.manifest.input.size_px
        return torch.zeros(
            self.max_batch, 3, side_px, side_px, dtype=torch.uint8, device=self.device
        )
