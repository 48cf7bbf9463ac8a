"""Which engines a model goes through, by the operator's settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from service.config import EngineName, Settings
from service.engines.base import Engine
from service.engines.compiled import CompiledEngine
from service.engines.device import choose_device, choose_precision
from service.engines.eager import EagerEngine
from service.engines.stub import StubEngine
from service.engines.tensorrt import TensorRtEngine, tensorrt_is_installed
from service.errors import BadSetting
from service.store import Bundle


@dataclass(frozen=True, slots=True)
class EnginePlan:
    """The engines of one model.

    Attributes:
        first: answers as soon as it is loaded.
        final: is built meanwhile and takes over; the same object where there is nothing to build.
        others: are tried in turn where `final` cannot be built.
        may_fall_back: whether another engine than `final` may serve the model for good; one that
            was asked for by name is not replaced.
    """

    first: Engine
    final: Engine
    others: tuple[Engine, ...] = ()
    may_fall_back: bool = True


def plan_engines(bundle: Bundle, settings: Settings) -> EnginePlan:
    """Choose a model's engines.

    `auto` is TensorRT on a GPU where it is installed, else the compiled engine. The eager engine
    answers while one of them is built; what is built already needs none.

    Raises:
        BadSetting: the device asked for is not there, or the engine does not run on it.
    """
    if settings.engine == "stub":
        stub = StubEngine(bundle.manifest)
        return EnginePlan(stub, stub)
    device = choose_device(settings.device)
    if settings.engine == "eager":
        eager = _eager(bundle, settings, device)
        return EnginePlan(eager, eager)
    names = _engine_names(settings.engine, device)
    final, *others = [ENGINES[name](bundle, settings, device) for name in names]
    quick = _quick(bundle, settings, device)
    by_name = settings.engine != "auto"
    if not settings.tiered or (isinstance(final, CompiledEngine) and final.is_built):
        return EnginePlan(final, final, () if by_name else (*others, quick), not by_name)
    return EnginePlan(quick, final, tuple(others), not by_name)


def _engine_names(wanted: EngineName, device: torch.device) -> list[str]:
    has_tensorrt = device.type == "cuda" and tensorrt_is_installed()
    if wanted == "auto":
        return ["tensorrt", "compiled"] if has_tensorrt else ["compiled"]
    if wanted == "tensorrt" and not has_tensorrt:
        raise BadSetting(
            "SGE_ENGINE=tensorrt needs a CUDA device and pip install 'sge-serve[tensorrt]'"
        )
    return [wanted]


def _eager(bundle: Bundle, settings: Settings, device: torch.device) -> EagerEngine:
    precision = choose_precision(settings.precision, device)
    return EagerEngine(bundle, device, precision, settings.threads)


def _quick(bundle: Bundle, settings: Settings, device: torch.device) -> EagerEngine:
    """The engine of the first seconds; on a CPU fp32, since eager bf16 is slower than it there."""
    precision = "fp32" if device.type == "cpu" else choose_precision(settings.precision, device)
    return EagerEngine(bundle, device, precision, settings.threads)


def _compiled(bundle: Bundle, settings: Settings, device: torch.device) -> CompiledEngine:
    return CompiledEngine(
        bundle,
        device,
        choose_precision(settings.precision, device),
        settings.threads,
        max_batch=settings.max_batch,
        cache_dir=settings.cache_dir,
    )


def _tensorrt(bundle: Bundle, settings: Settings, device: torch.device) -> TensorRtEngine:
    wanted = "fp16" if settings.precision == "auto" else settings.precision
    return TensorRtEngine(
        bundle, device, wanted, max_batch=settings.max_batch, cache_dir=settings.cache_dir
    )


ENGINES: dict[str, Callable[[Bundle, Settings, torch.device], Engine]] = {
    "compiled": _compiled,
    "tensorrt": _tensorrt,
}
