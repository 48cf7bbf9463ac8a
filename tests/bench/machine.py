"""The machine under a bench: what it is, and the most arithmetic that it does."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import platform
import time
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import torch

from service import __version__
from service.engines.device import choose_precision
from service.model.resnet import ResNetSpec
from tests.bench.peak import peak_gflops, peak_of_multiply_adds
from tests.bench.rounds import Clock
from tests.load.machine import describe_machine

MULTIPLY_ADDS = "multiply-adds"
"""The name of the peak in fp32 that no product reaches, beside those of products."""


def describe(
    threads: int,
    libraries: Sequence[str] = (),
    network: ResNetSpec | None = None,
    clock: Clock = time.perf_counter,
) -> dict[str, Any]:
    """Say what a reader of figures asks of a machine, measuring its peak.

    Libraries are distributions whose versions matter beside torch's; those that are not installed
    are left out.
    """
    seen = describe_machine()
    machine = {
        "cpu": seen["processor"],
        "cores": seen["cores"],
        "isa": sorted(n for n, has in torch.cpu.get_capabilities().items() if has is True),
        "memory_gb": _memory_gb(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": seen["system"],
        "threads": threads,
        "native_bf16": has_native_bf16(),
        "peak_gflops": {
            "fp32": peak_gflops(torch.float32, clock),
            "bf16": peak_gflops(torch.bfloat16, clock),
            MULTIPLY_ADDS: peak_of_multiply_adds(threads, clock),
        },
        "versions": _versions(("torch", *libraries)),
    }
    return machine | ({"network": dataclasses.asdict(network)} if network else {})


def has_native_bf16() -> bool:
    """Whether the processor multiplies bf16; elsewhere it is emulated, slower than fp32."""
    return choose_precision("auto", torch.device("cpu")) == "bf16"


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, ValueError, OSError):  # a system that does not say
        return None


def _versions(libraries: Sequence[str]) -> dict[str, str]:
    found = {"sge-serve": __version__, "python": platform.python_version()}
    for name in libraries:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
