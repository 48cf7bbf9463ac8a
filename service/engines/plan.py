"""Which engines a model goes through, by the operator's settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch

from service.config import EngineName, Settings
from service.cores import core_quota
from service.engines.aoti.engine import CompiledEngine
from service.engines.aoti.int8 import Calibration, Int8Engine, torchao_is_installed
from service.engines.background_build import BackgroundBuild, Build
from service.engines.base import Engine
from service.engines.device import choose_device, choose_precision, choose_threads
from service.engines.driver import no_tensorrt, tensorrt_is_installed
from service.engines.eager import EagerEngine
from service.engines.gpu import GpuSurvey, survey_gpu
from service.engines.stub import StubEngine
from service.engines.tensorrt.engine import TensorRtEngine
from service.errors import BadSetting
from service.store.load import LoadedModel


@dataclass(frozen=True, slots=True)
class EnginePlan:
    """The engines of one model.

    Attributes:
        first: answers as soon as it is loaded.
        final: is built meanwhile and takes over; the same object where there is nothing to build.
        others: are tried in turn where `final` cannot be built.
        may_fall_back: whether another engine than `final` may serve the model for good; one that
            was asked for by name is not replaced.
        load_kept: loads `final` from what was built before, and says whether there was anything
            sound; None where nothing was built. `first` is not needed then.
        must_compile: says whether a process has to compile `final` before it can run.
    """

    first: Engine
    final: Engine
    others: tuple[Engine, ...] = ()
    may_fall_back: bool = True
    load_kept: Callable[[], bool] | None = None
    must_compile: Callable[[], bool] = lambda: False

    def without_tiers(self, *, may_fall_back: bool) -> EnginePlan:
        """The same engines where another version answers until the final one does.

        Args:
            may_fall_back: whether another engine than the final one is better than none.
        """
        has_tiers = self.first is not self.final
        spares = (*self.others, self.first) if has_tiers else self.others
        allowed = may_fall_back and self.may_fall_back
        return replace(self, first=self.final, others=spares if allowed else ())


@dataclass(frozen=True, slots=True)
class Machine:
    """What engines find where they run.

    Attributes:
        survey: looks at the GPU.
        has_tensorrt: whether Torch-TensorRT is installed.
        has_torchao: whether torchao is.
    """

    survey: Callable[[], GpuSurvey] = survey_gpu
    has_tensorrt: Callable[[], bool] = tensorrt_is_installed
    has_torchao: Callable[[], bool] = torchao_is_installed


THIS_MACHINE = Machine()


@dataclass(frozen=True, slots=True)
class _EngineParts:
    """What an engine is made of."""

    model: LoadedModel
    settings: Settings
    machine: Machine
    device: torch.device
    calibration: Calibration | None
    in_background: bool

    @property
    def precision(self) -> str:
        return choose_precision(self.settings.precision, self.device)

    @property
    def threads(self) -> int:
        return choose_threads(self.settings.threads, core_quota())

    def build(self, engine: EngineName) -> Build | None:
        """How an engine that is compiled gets its files; None leaves it to the engine itself."""
        return (
            BackgroundBuild(self.settings, engine, self.model.key) if self.in_background else None
        )


def plan_engines(
    model: LoadedModel,
    settings: Settings,
    calibration: Calibration | None = None,
    *,
    in_background: bool = False,
    machine: Machine = THIS_MACHINE,
) -> EnginePlan:
    """Choose a model's engines.

    `auto` is TensorRT on a GPU where it is installed, else the compiled engine. The eager engine
    answers while one of them is built; what is built already needs none.

    Args:
        model: the model.
        settings: what the operator decided.
        calibration: pictures for the int8 engine.
        in_background: compile in a process of its own, which finds the model in the store.
        machine: where they will run.

    Raises:
        BadSetting: the device asked for is not there, or the engine does not run on it, or the
            int8 engine can be neither found nor built.
    """
    if settings.engine == "stub":
        stub = StubEngine(model.manifest)
        return EnginePlan(stub, stub)
    device = choose_device(settings.device, machine.survey)
    parts = _EngineParts(model, settings, machine, device, calibration, in_background)
    if settings.engine == "eager":
        eager = EagerEngine(model, parts.device, parts.precision, parts.threads)
        return EnginePlan(eager, eager)
    has_tensorrt = device.type == "cuda" and machine.has_tensorrt()
    names = _engine_names(settings.engine, has_tensorrt=has_tensorrt)
    final, *others = [ENGINES[name](parts) for name in names]
    quick = _quick(parts)
    by_name = settings.engine != "auto"
    must_compile = partial(_must_compile, final, in_background=in_background)
    if not settings.tiered:
        spares = () if by_name else (*others, quick)
        return EnginePlan(final, final, spares, not by_name, must_compile=must_compile)
    load_kept = None
    if isinstance(final, CompiledEngine) and final.is_built:
        load_kept = final.load_kept
    return EnginePlan(quick, final, tuple(others), not by_name, load_kept, must_compile)


def _must_compile(final: Engine, *, in_background: bool) -> bool:
    return in_background and isinstance(final, CompiledEngine) and not final.is_built


def _engine_names(name: EngineName, *, has_tensorrt: bool) -> list[str]:
    if name == "auto":
        return ["tensorrt", "compiled"] if has_tensorrt else ["compiled"]
    if name == "tensorrt" and not has_tensorrt:
        raise no_tensorrt()
    return [name]


def _quick(parts: _EngineParts) -> EagerEngine:
    """The engine of the first seconds; on a CPU fp32, since eager bf16 is slower than it there."""
    precision = "fp32" if parts.device.type == "cpu" else parts.precision
    return EagerEngine(parts.model, parts.device, precision, parts.threads)


def _compiled(parts: _EngineParts) -> CompiledEngine:
    return CompiledEngine(
        parts.model,
        parts.device,
        parts.precision,
        parts.threads,
        max_batch=parts.settings.max_batch,
        cache_dir=parts.settings.cache_dir,
        cache_limit_bytes=parts.settings.cache_limit_bytes,
        build=parts.build("compiled"),
    )


def _int8(parts: _EngineParts) -> Int8Engine:
    settings = parts.settings
    if parts.device.type != "cpu":
        raise BadSetting("SGE_ENGINE=int8 runs on a CPU only: set SGE_DEVICE=cpu")
    if settings.precision != "auto":
        raise BadSetting(
            f"SGE_ENGINE=int8 has a precision of its own: SGE_PRECISION={settings.precision} "
            "has to be auto"
        )
    engine = Int8Engine(
        parts.model,
        parts.threads,
        max_batch=settings.max_batch,
        cache_dir=settings.cache_dir,
        cache_limit_bytes=settings.cache_limit_bytes,
        calibration=parts.calibration,
        build=parts.build("int8"),
    )
    engine.require_build(parts.machine.has_torchao)
    return engine


def _tensorrt(parts: _EngineParts) -> TensorRtEngine:
    settings = parts.settings
    return TensorRtEngine(
        parts.model,
        parts.device,
        "fp16" if settings.precision == "auto" else settings.precision,
        max_batch=settings.max_batch,
        cache_dir=settings.cache_dir,
        cache_limit_bytes=settings.cache_limit_bytes,
        build=parts.build("tensorrt"),
    )


ENGINES: dict[str, Callable[[_EngineParts], Engine]] = {
    "compiled": _compiled,
    "int8": _int8,
    "tensorrt": _tensorrt,
}
