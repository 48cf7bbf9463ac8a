"""The TensorRT engine: the inference graph as engines of TensorRT, built by Torch-TensorRT.

TensorRT was not at hand when this was written: on a GPU it has never run. The export, the cache of
built engines and the way of a batch are tested on a CPU with a stand-in for the library. Without it
the tests also hold that Torch-TensorRT, in the version that the extra `tensorrt` pins, converts
every operation of the exported graph and takes the calls made here (`tests/engines/tensorrt/`).
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from service.engines.artifact_cache import ArtifactCache
from service.engines.background_build import Build
from service.engines.device import DTYPES
from service.engines.driver import tensorrt_is_installed
from service.engines.gpu_memory import give_back
from service.engines.identity import (
    GRAPH_SOURCES,
    identity_of,
    model_parts,
    platform_parts,
    source_parts,
)
from service.engines.tensorrt.export import INPUT_NAME, export_graph
from service.engines.torch_engine import TorchEngine
from service.errors import EngineFailed
from service.model.resnet import FEATURES, Outputs
from service.store.load import LoadedModel

# A change of one of these modules outdates every built engine.
SOURCES = (*GRAPH_SOURCES, "service.engines.tensorrt.export", __name__)

COPIES = 3  # of the weights: one in either engine, and room for what TensorRT adds


@dataclass(frozen=True, slots=True)
class Library:
    """Torch-TensorRT as it was imported, and the version of TensorRT below it."""

    torch_tensorrt: Any
    tensorrt_version: str


@dataclass(frozen=True, slots=True)
class BuiltGraph:
    """An engine of TensorRT that returns logits, features and the similarities of its blocks."""

    module: Callable[[Tensor], Sequence[Tensor]]
    blocks: tuple[str, ...]

    def run(self, pixels: Tensor) -> Outputs:
        """Run (B, 3, h, w), 0 to 255, that lies on the device in the engine's dtype."""
        logits, features, *similarities = self.module(pixels)
        return Outputs(logits, dict(zip(self.blocks, similarities, strict=True)), features)


def import_library() -> Library:
    """Import Torch-TensorRT, which takes seconds.

    Raises:
        RuntimeError: it is not installed, or there is no CUDA device.
        Exception: whatever a broken installation raises.
    """
    if not tensorrt_is_installed():
        raise RuntimeError("Torch-TensorRT is not installed: pip install 'sge-serve[tensorrt]'")
    if not torch.cuda.is_available():
        raise RuntimeError("TensorRT needs a CUDA device, and torch finds none")
    torch_tensorrt = importlib.import_module("torch_tensorrt")
    return Library(torch_tensorrt, importlib.import_module("tensorrt").__version__)


class TensorRtEngine(TorchEngine):
    """Runs one of two engines of TensorRT, by which blocks a batch asks for.

    One returns the similarity of the last block, the other that of every block, both of them the
    features, which are fetched where they are asked for. Each takes any batch up to the largest.
    An operation that TensorRT cannot run fails the build; none runs in PyTorch instead.

    Built engines are kept, and with them TensorRT's timings of kernels. What is damaged, or was
    built from another model, for another GPU or by other versions, is built again: that takes
    minutes.

    Args:
        model: the model; its network is copied.
        device: the current CUDA device.
        precision: `fp16`, `bf16` or `fp32`, which is not rounded to TF32.
        max_batch: images in the largest batch.
        cache_dir: where built engines are kept.
        cache_limit_bytes: of all of them together; None keeps every one.
        build: fills a cache folder where an engine is missing; None builds in this process.
        library: imports Torch-TensorRT.
    """

    name = "tensorrt"

    def __init__(
        self,
        model: LoadedModel,
        device: torch.device,
        precision: str,
        *,
        max_batch: int,
        cache_dir: Path,
        cache_limit_bytes: int | None = None,
        build: Build | None = None,
        library: Callable[[], Library] = import_library,
    ) -> None:
        super().__init__(model, device, precision)
        self.dtype = DTYPES[precision]
        self.max_batch = max_batch
        self.files = ArtifactCache(cache_dir / self.name, cache_limit_bytes)
        self.build = build
        self.library = library
        self.with_last: BuiltGraph | None = None
        self.with_all: BuiltGraph | None = None

    @property
    def variants(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The blocks of either engine."""
        blocks = tuple(block.name for block in self.model.manifest.spec.blocks())
        return blocks[-1:], blocks

    @property
    def is_built(self) -> bool:
        """Whether `load` will find both engines; only `load` knows whether they are sound.

        Raises:
            RuntimeError: Torch-TensorRT or a GPU is missing.
        """
        library = self.library()
        return all(self.files.holds(self._file_of(library, blocks)) for blocks in self.variants)

    def load(self) -> None:
        """Take both engines from the cache, or have them built.

        Raises:
            EngineFailed: the process that builds has failed, or has built something else, or a
                GPU's memory is too little for both engines.
            RuntimeError: Torch-TensorRT or a GPU is missing, or an engine cannot be built.
            OSError: what was built cannot be written.
        """
        library = self.library()
        serialized = self._kept(library, self.files) or self._built(library)
        self.require_memory(sum(map(len, serialized)))  # nearly all of it is weights
        with self.on_device():
            self.with_last, self.with_all = (
                self._loaded(library, *one) for one in zip(self.variants, serialized, strict=True)
            )

    def run(self, pixels: Tensor, extras: frozenset[str]) -> Outputs:
        """Run (B, 3, h, w) uint8 that lies on the device."""
        if self.with_last is None or self.with_all is None:
            raise RuntimeError("infer was called before load")
        built = self.with_last if extras <= {*self.with_last.blocks, FEATURES} else self.with_all
        # Whether the runtime takes uint8 could not be tried; every dtype holds 0 to 255 exactly.
        outputs = built.run(pixels.to(self.dtype))
        return outputs if FEATURES in extras else outputs._replace(features=None)

    def close(self) -> None:
        """Let go of the engines, and with them of the weights."""
        self.with_last = self.with_all = None
        give_back(self.device)

    def compile_into(self, files: ArtifactCache) -> None:
        """Build, in this process, what is missing of both engines; it takes minutes.

        Args:
            files: where they are put.

        Raises:
            OSError: they cannot be written there.
            RuntimeError: Torch-TensorRT or a GPU is missing, or an engine cannot be built.
        """
        library = self.library()
        for blocks in self.variants:
            name = self._file_of(library, blocks)
            if files.read(name) is None:
                files.write(name, self._serialized(library, blocks, files))

    def _kept(self, library: Library, files: ArtifactCache) -> list[bytes] | None:
        """Read both engines; None where one is missing or damaged."""
        found = [files.read(self._file_of(library, blocks)) for blocks in self.variants]
        both = [content for content in found if content is not None]
        return both if len(both) == len(found) else None

    def _built(self, library: Library) -> list[bytes]:
        """Have both engines built; where they cannot be kept, they serve this time only."""
        with self.files.with_room_for(COPIES * self.weight_bytes(self.precision)) as files:
            if self.build is None:
                self.compile_into(files)
            else:
                self.build(files.folder.parent)
            serialized = self._kept(library, files)
        if serialized is None:
            raise EngineFailed("what was built is not there: has the model been changed?")
        return serialized

    def _loaded(self, library: Library, blocks: tuple[str, ...], serialized: bytes) -> BuiltGraph:
        module = library.torch_tensorrt.runtime.TorchTensorRTModule(
            serialized_engine=serialized,
            input_binding_names=[INPUT_NAME],
            output_binding_names=["logits", FEATURES, *blocks],
        )
        return BuiltGraph(module, blocks)

    def _serialized(self, library: Library, blocks: tuple[str, ...], files: ArtifactCache) -> bytes:
        """Build an engine, with the timings of earlier builds on this machine."""
        timings = f"{identity_of(self._platform(library))}.timings"
        with tempfile.TemporaryDirectory() as private:
            # Torch-TensorRT rewrites the file in place, so it gets a copy of its own.
            timing_cache = Path(private) / "timings"
            known = files.read(timings)
            if known is not None:
                timing_cache.write_bytes(known)
            serialized = self._convert(library.torch_tensorrt, blocks, timing_cache)
            if timing_cache.exists():
                files.keep(timings, timing_cache.read_bytes())
        return serialized

    def _convert(self, torch_tensorrt: Any, blocks: tuple[str, ...], timing_cache: Path) -> bytes:
        """Have TensorRT compile the graph for any batch, fastest for the largest."""
        side_px = self.model.manifest.input.size_px
        image_shape = (3, side_px, side_px)
        graph = self.fused_graph(self.precision)
        pixels = torch_tensorrt.Input(
            min_shape=(1, *image_shape),
            opt_shape=(self.max_batch, *image_shape),
            max_shape=(self.max_batch, *image_shape),
            dtype=self.dtype,
        )
        serialized: bytes = torch_tensorrt.dynamo.convert_exported_program_to_serialized_trt_engine(
            export_graph(graph, blocks, image_shape, self.max_batch, self.device),
            arg_inputs=[pixels],
            arg_input_binding_names=(INPUT_NAME,),
            output_binding_names=("logits", FEATURES, *blocks),
            require_full_compilation=True,
            disable_tf32=True,
            timing_cache_path=str(timing_cache),
        )
        return serialized

    def _file_of(self, library: Library, blocks: tuple[str, ...]) -> str:
        return f"{self._identity(library, blocks)}.engine"

    def _identity(self, library: Library, blocks: tuple[str, ...]) -> str:
        """Stand for all that a built engine depends on."""
        return identity_of(
            self._platform(library),
            source_parts(SOURCES),
            model_parts(self.model),
            (self.precision, self.max_batch, blocks),
        )

    def _platform(self, library: Library) -> tuple[object, ...]:
        """The GPU and the versions that a built engine is bound to."""
        versions = library.torch_tensorrt.__version__, library.tensorrt_version
        return *versions, *platform_parts(self.device)
