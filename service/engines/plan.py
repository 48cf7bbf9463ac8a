"""Which engines a model goes through, by the operator's settings."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from service.config import Settings
from service.engines.base import Engine
from service.engines.compiled import CompiledEngine
from service.engines.device import choose_device, choose_precision
from service.engines.eager import EagerEngine
from service.engines.stub import StubEngine
from service.store import Bundle


@dataclass(frozen=True, slots=True)
class EnginePlan:
    """The engines of one model.

    Attributes:
        first: answers as soon as it is loaded.
        final: is built meanwhile and takes over; the same object where there is nothing to build.
    """

    first: Engine
    final: Engine


def plan_engines(bundle: Bundle, settings: Settings) -> EnginePlan:
    """Choose a model's engines.

    Raises:
        BadSetting: the device asked for is not there.
    """
    if settings.engine == "stub":
        stub = StubEngine(bundle.manifest)
        return EnginePlan(stub, stub)
    device = choose_device(settings.device)
    precision = choose_precision(settings.precision, device)
    if settings.engine == "eager":
        eager = EagerEngine(bundle, device, precision, settings.threads)
        return EnginePlan(eager, eager)
    compiled = CompiledEngine(bundle, device, precision, settings.threads)
    if not settings.tiered:
        return EnginePlan(compiled, compiled)
    return EnginePlan(_quick_engine(bundle, device, precision, settings.threads), compiled)


def _quick_engine(bundle: Bundle, device: torch.device, precision: str, threads: int) -> Engine:
    """The engine of the first seconds; on a CPU fp32, since eager bf16 is slower than it there."""
    return EagerEngine(bundle, device, "fp32" if device.type == "cpu" else precision, threads)
