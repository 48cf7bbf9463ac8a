"""A stand-in for Torch-TensorRT, and the engine on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from torch import Tensor
from torch.export import ExportedProgram

from service.engines.tensorrt.engine import Library, TensorRtEngine
from tests.engine_builders import CPU
from tests.engines.networks import short_model

MAX_BATCH = 4


class StandIn:
    """Torch-TensorRT as far as the engine calls it.

    What it builds is the number of an exported program, which PyTorch runs.
    """

    __version__ = "1.0"
    Input = dict[str, Any]

    def __init__(self) -> None:
        self.programs: list[ExportedProgram] = []
        self.profiles: list[dict[str, Any]] = []
        self.timings_found: list[bytes | None] = []
        self.dynamo = SimpleNamespace(convert_exported_program_to_serialized_trt_engine=self.build)
        self.runtime = SimpleNamespace(TorchTensorRTModule=self.module)

    def build(
        self,
        program: ExportedProgram,
        *,
        arg_inputs: list[dict[str, Any]],
        timing_cache_path: str,
        **_: Any,
    ) -> bytes:
        """Keep the program, and write timings as TensorRT does."""
        timings = Path(timing_cache_path)
        self.timings_found.append(timings.read_bytes() if timings.exists() else None)
        timings.write_bytes(b"timings")
        self.profiles += arg_inputs
        self.programs.append(program)
        return str(len(self.programs) - 1).encode()

    def module(self, *, serialized_engine: bytes, **_: Any) -> Callable[[Tensor], Sequence[Tensor]]:
        """Run a program that was built."""
        run: Callable[[Tensor], Sequence[Tensor]] = self.programs[int(serialized_engine)].module()
        return run


def engine_on(stand_in: StandIn, cache_dir: Path, **changes: Any) -> TensorRtEngine:
    """The short network on the CPU, in float32 where nothing else is said."""
    arguments: dict[str, Any] = {
        "model": short_model(),
        "device": CPU,
        "precision": "fp32",
        "max_batch": MAX_BATCH,
        "cache_dir": cache_dir,
        "library": lambda: Library(stand_in, "1.0"),
    }
    return TensorRtEngine(**arguments | changes)
