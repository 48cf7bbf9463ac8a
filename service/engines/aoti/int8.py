"""The int8 engine: the fused graph, quantised by pictures and compiled ahead of time.

B: batch.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from service.engines.aoti.build import ToCompile
from service.engines.aoti.engine import CompiledEngine
from service.engines.aoti.package import NETWORK
from service.engines.artifact_cache import ArtifactCache
from service.engines.background_build import Build
from service.engines.identity import identity_of
from service.errors import BadSetting
from service.images.contract import InputContract
from service.store.load import LoadedModel


class Calibration(Protocol):
    """Pictures by which an engine is calibrated."""

    @property
    def digest(self) -> str:
        """Stands for the pictures: others have another one."""

    def pixels(self, contract: InputContract) -> NDArray[np.uint8]:
        """The pictures as a model sees them: (B, 3, h, w) uint8, RGB.

        Raises:
            BadSetting: none of them can be read.
        """


def torchao_is_installed() -> bool:
    """Whether a build finds torchao; does not import it."""
    return importlib.util.find_spec("torchao") is not None


PIXEL_SOURCES = (
    *("contract", "decode", "cost", "flatten", "formats"),
    *("preprocess", "resize"),
    *(
        f"strip.{name}"
        for name in ("avif", "bmp", "gif", "jpeg", "png", "tiff", "tiff_tags", "webp")
    ),
    *("strip.orientation", "strip.stripped"),
)


class Int8Engine(CompiledEngine):
    """Runs a package as the compiled engine does; its convolutions multiply 8-bit numbers.

    A package holds for the pictures by which it was calibrated. Without any, the engine takes the
    package that was built last for this model on this kind of machine.

    Args:
        model: the model; its network is copied.
        threads: of one forward pass; 0 leaves torch's default, every core.
        max_batch: images in the largest batch.
        cache_dir: where packages are kept.
        cache_limit_bytes: of all packages together; None keeps every one.
        calibration: what a package is built by; None where it was built before.
        build: fills a cache folder where no package is kept; None compiles in this process.
    """

    name = "int8"
    sources = (
        *CompiledEngine.sources,
        __name__,
        "service.engines.aoti.quantise",
        "service.engines.calibration",  # and what makes pixels of its pictures
        *(f"service.images.{module}" for module in PIXEL_SOURCES),
    )

    def __init__(
        self,
        model: LoadedModel,
        threads: int = 0,
        *,
        max_batch: int,
        cache_dir: Path,
        cache_limit_bytes: int | None = None,
        calibration: Calibration | None = None,
        build: Build | None = None,
    ) -> None:
        super().__init__(
            model,
            torch.device("cpu"),
            "int8",
            threads,
            max_batch=max_batch,
            cache_dir=cache_dir,
            cache_limit_bytes=cache_limit_bytes,
            build=build,
        )
        self.calibration = calibration

    def identity(self) -> str:
        """Condense what a package depends on, the pictures included.

        Raises:
            BadSetting: there are no pictures, and no package was built by any.
        """
        return identity_of(super().identity(), self._digest_of_pictures())

    def require_build(self, is_installed: Callable[[], bool] = torchao_is_installed) -> None:
        """Check that a package is there or can be built.

        Args:
            is_installed: whether torchao is.

        Raises:
            BadSetting: there are no pictures, or torchao is not installed.
        """
        if self.is_built:
            return
        if self.calibration is None:
            raise self._no_pictures()
        if not is_installed():
            raise BadSetting(
                "SGE_ENGINE=int8 is built by torchao, which is not installed: "
                "pip install 'sge-serve[int8]'"
            )

    def to_compile(self) -> ToCompile:
        """The network for any batch, quantised."""
        if self.calibration is None:
            raise self._no_pictures()
        pixels = torch.from_numpy(self.calibration.pixels(self.model.manifest.input))
        # This import takes seconds, and needs a library that a package does without.
        from service.engines.aoti.quantise import export_quantised  # noqa: PLC0415

        bits = weight_bits(torch.cpu.get_capabilities())
        graph = self.fused_graph("fp32")
        return ToCompile({NETWORK: lambda: export_quantised(graph, pixels, bits)})

    def compile_into(self, files: ArtifactCache) -> None:
        """Build the package in this process, and note by which pictures."""
        super().compile_into(files)
        files.write(self._name_of_digest, self._digest_of_pictures().encode())

    @property
    def _name_of_digest(self) -> str:
        """The file that tells by which pictures the latest package was built."""
        return f"{super().identity()}-pictures"

    def _digest_of_pictures(self) -> str:
        if self.calibration is not None:
            return self.calibration.digest
        latest = self.files.read(self._name_of_digest)
        if latest is None:
            raise self._no_pictures()
        return latest.decode()

    def _no_pictures(self) -> BadSetting:
        return BadSetting(
            f"SGE_ENGINE=int8 needs SGE_CALIBRATION_DIR, a folder of pictures: "
            f"nothing was built for {self.model.key} before"
        )


def weight_bits(capabilities: Mapping[str, bool]) -> int:
    """How many bits of a weight a processor multiplies without an error.

    Without VNNI, oneDNN adds two products of a uint8 and an int8 in 16 bits, which saturate:
    2 x 255 x 127 is beyond them, 2 x 255 x 63 is not.

    Args:
        capabilities: of the processor, as `torch.cpu.get_capabilities` names them.
    """
    return 8 if any(has and "vnni" in name for name, has in capabilities.items()) else 7
