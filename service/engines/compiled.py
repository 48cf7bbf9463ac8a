"""The compiled engine: the fused graph, compiled ahead of time and kept between starts."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import structlog
import torch
from torch import Tensor
from torch.export import ExportedProgram

from service.engines.cuda_graphs import RecordedProgram
from service.engines.device import DTYPES
from service.engines.eager import EagerEngine
from service.engines.programs import (
    Program,
    Programs,
    build_package,
    export_programs,
    load_package,
    run_in_pieces,
)
from service.engines.sealed_files import SealedFiles
from service.model.fuse import fuse
from service.model.graph import InferenceGraph
from service.model.resnet import Outputs
from service.store import Bundle

log = structlog.stdlib.get_logger(__name__)

# A change of one of these modules outdates every package.
SOURCES = (
    "service.model.sge",
    "service.model.resnet",
    "service.model.fuse",
    "service.model.graph",
    "service.engines.programs",
)
MEASURED_ROUNDS = 3
WORTH = 0.98  # of the time of a whole batch: what pieces must undercut


class Pieces(NamedTuple):
    """How many images each program takes at a time."""

    front: int
    rear: int


class CompiledEngine(EagerEngine):
    """Runs a package of two programs (see `programs`), built once for a model and a machine.

    Either program may take a batch in pieces: on a CPU the maps of a few images fit the caches
    where those of a batch do not, but each piece reads the weights again. Which is faster is
    measured when the package is built. On a GPU, CUDA records each program for buckets of batch
    sizes (see `cuda_graphs`).

    Args:
        bundle: the model; its network is copied.
        device: where it runs.
        precision: `fp32`, `bf16` or `fp16`.
        threads: of one forward pass on a CPU; 0 leaves torch's default, every core.
        max_batch: images in the largest batch.
        cache_dir: where packages are kept.
    """

    name = "compiled"

    def __init__(
        self,
        bundle: Bundle,
        device: torch.device,
        precision: str,
        threads: int = 0,
        *,
        max_batch: int,
        cache_dir: Path,
    ) -> None:
        super().__init__(bundle, device, precision, threads)
        self.max_batch = max_batch
        self.files = SealedFiles(cache_dir / self.name)
        self.programs: Programs | None = None
        self.pieces = Pieces(max_batch, max_batch)

    @functools.cached_property
    def key(self) -> str:
        """Stands for all that a package depends on."""
        manifest = self.bundle.manifest
        parts = (
            torch.__version__,
            _platform(self.device),
            [inspect.getsource(sys.modules[name]) for name in SOURCES],
            (manifest.sha256.weights, manifest.spec, manifest.input),
            self.precision,
        )
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    @property
    def is_built(self) -> bool:
        """Whether `load` will find a sound package, and so take a moment."""
        return self.files.read(self.key) is not None

    def load(self) -> None:
        """Load the package; build it first where there is none, or none that is sound.

        Raises:
            Exception: the compiler is missing or fails.
        """
        self.use_threads()
        with tempfile.TemporaryDirectory() as folder:
            package = Path(folder) / "programs.pt2"
            self.programs = self._kept(package) or self._built(package)
        if self.device.type == "cuda":
            self.programs = self._recorded(self.programs)
        else:
            self.pieces = self._pieces(self.programs)

    def _kept(self, package: Path) -> Programs | None:
        """Load what an earlier start has kept; None where there is nothing, or nothing of use."""
        content = self.files.read(self.key)
        if content is None:
            return None
        package.write_bytes(content)
        try:
            return load_package(package)
        except RuntimeError as error:
            log.warning("what was compiled cannot be loaded", reason=str(error))
            return None

    def _built(self, package: Path) -> Programs:
        log.info("engine is being compiled", model=self.bundle.key, precision=self.precision)
        started = time.monotonic()
        package.unlink(missing_ok=True)
        build_package(self._exported(), package)
        self.files.keep(self.key, package.read_bytes())
        seconds = round(time.monotonic() - started, 1)
        log.info("engine is compiled", model=self.bundle.key, seconds=seconds)
        return load_package(package)

    def _exported(self) -> dict[str, ExportedProgram]:
        contract = self.bundle.manifest.input
        graph = InferenceGraph(
            fuse(self.bundle.network), contract.mean, contract.std, DTYPES[self.precision]
        )
        return export_programs(graph.to(self.device), contract.size_px)

    def _pieces(self, programs: Programs) -> Pieces:
        """Read how large the pieces are, or measure it."""
        name = f"{self.key}-pieces-{self.max_batch}-{torch.get_num_threads()}"
        known = self.files.read(name)
        if known is None:
            known = json.dumps(self._measured(programs)).encode()
            self.files.keep(name, known)
        return Pieces(**json.loads(known))

    @torch.inference_mode()
    def _recorded(self, programs: Programs) -> Programs:
        """Have CUDA record both programs; a bucket is what a piece is on a CPU."""
        pixels = self._largest_batch()
        maps, *_ = programs.front([pixels])
        return Programs(
            RecordedProgram(programs.front, pixels), RecordedProgram(programs.rear, maps)
        )

    def _largest_batch(self) -> Tensor:
        side_px = self.bundle.manifest.input.size_px
        return torch.zeros(
            self.max_batch, 3, side_px, side_px, dtype=torch.uint8, device=self.device
        )

    @torch.inference_mode()
    def _measured(self, programs: Programs) -> dict[str, int]:
        pixels = self._largest_batch()
        front = fastest_piece(programs.front, pixels)
        maps = run_in_pieces(programs.front, pixels, front).result
        return Pieces(front, fastest_piece(programs.rear, maps))._asdict()

    def warm_up_sizes(self, max_batch: int) -> Sequence[int]:
        """Every size takes the same code: the smallest and the largest."""
        return sorted({1, max_batch})

    def run(self, pixels: Tensor, asked: frozenset[str]) -> Outputs:
        """Run (B, 3, h, w) uint8 that lies on the device."""
        if self.programs is None:
            raise RuntimeError("infer was called before load")
        front = run_in_pieces(self.programs.front, pixels, self.pieces.front)
        rear = run_in_pieces(self.programs.rear, front.result, self.pieces.rear)
        similarities = {}
        stage1 = self.bundle.manifest.spec.depth.repeats[0]
        for index, block in enumerate(self.bundle.manifest.spec.blocks()):
            if block.name in asked:
                part = front.likeness(index) if index < stage1 else rear.likeness(index - stage1)
                similarities[block.name] = part.similarity()
        return Outputs(rear.result, similarities)

    def close(self) -> None:
        """Let go of the programs, and with them of the weights."""
        self.programs = None


def fastest_piece(
    program: Program, batch: Tensor, clock: Callable[[], float] = time.perf_counter
) -> int:
    """Measure into how large pieces a program best cuts a batch.

    Args:
        program: it has to have run before, or the first sizes pay for that.
        batch: the largest there will be.
        clock: in seconds.

    Returns:
        The images of a piece: all, unless a power of two is clearly faster.
    """
    whole = len(batch)
    sizes = [2**power for power in range(whole.bit_length()) if 2**power < whole]
    seconds = dict.fromkeys([*sizes, whole], float("inf"))
    for _ in range(MEASURED_ROUNDS):
        for size in seconds:
            started = clock()
            _ = run_in_pieces(program, batch, size).result
            seconds[size] = min(seconds[size], clock() - started)
    best = min(seconds, key=seconds.__getitem__)
    return best if seconds[best] < WORTH * seconds[whole] else whole


def _platform(device: torch.device) -> tuple[object, ...]:
    """What the code of a package is made for."""
    if device.type == "cpu":
        return ("cpu", sorted(torch.cpu.get_capabilities().items()))
    gpu = torch.cuda.get_device_properties(device)
    return (gpu.name, gpu.major, gpu.minor)
