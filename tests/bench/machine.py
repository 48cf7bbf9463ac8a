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
from tests.bench.rounds import Clock, timed
from tests.load.machine import describe_machine

SIDE = 1024  # of the matrices: past every cache, and done in milliseconds where bf16 is native
REPEATS = 7
ENOUGH_S = 1.0  # of products: emulated bf16 takes as long for a single one


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
            name: peak_gflops(dtype, clock)
            for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16))
        },
        "versions": _versions(("torch", *libraries)),
    }
    return machine | ({"network": dataclasses.asdict(network)} if network else {})


def has_native_bf16() -> bool:
    """Whether the processor multiplies bf16; elsewhere it is emulated, slower than fp32."""
    return choose_precision("auto", torch.device("cpu")) == "bf16"


def peak_gflops(dtype: torch.dtype, clock: Clock, side: int = SIDE) -> float:
    """The best rate of a matrix product on the CPU, in 1e9 operations a second."""
    left, right = torch.rand(2, side, side).to(dtype)
    times: list[float] = []
    while len(times) < REPEATS and sum(times) < ENOUGH_S:
        times.append(timed(lambda: torch.mm(left, right), clock))
    return 2 * side**3 / min(times) / 1e9


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
