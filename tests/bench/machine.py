"""The machine under a bench: what it is, and the most arithmetic that it does."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import torch

from service import __version__
from tests.bench.report import Machine
from tests.bench.rounds import Clock

SIDE = 1024  # of the matrices: past every cache, and done in milliseconds where bf16 is native
REPEATS = 7
ENOUGH_S = 1.0  # of products: emulated bf16 takes as long for a single one


def describe(
    threads: int, libraries: Sequence[str] = (), clock: Clock = time.perf_counter
) -> Machine:
    """Say what a reader of figures asks of a machine, measuring its peak.

    Args:
        threads: of one forward pass.
        libraries: distributions whose versions matter, beside torch; those not installed are
            left out.
        clock: in seconds.
    """
    return Machine(
        cpu=_processor(),
        cores=os.cpu_count(),
        isa=tuple(sorted(n for n, has in torch.cpu.get_capabilities().items() if has is True)),
        memory_gb=_memory_gb(),
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        system=platform.platform(),
        threads=threads,
        native_bf16=has_native_bf16(),
        peak_gflops={
            "fp32": peak_gflops(torch.float32, clock),
            "bf16": peak_gflops(torch.bfloat16, clock),
        },
        versions=_versions(("torch", *libraries)),
    )


def has_native_bf16() -> bool:
    """Whether the processor multiplies bf16; elsewhere it is emulated, slower than fp32."""
    can = torch.cpu.get_capabilities()
    return bool(can.get("avx512_bf16") or can.get("amx_bf16"))


def peak_gflops(dtype: torch.dtype, clock: Clock, side: int = SIDE) -> float:
    """The best rate of a matrix product on the CPU, in 1e9 operations a second."""
    left, right = torch.rand(2, side, side).to(dtype)
    times: list[float] = []
    while len(times) < REPEATS and sum(times) < ENOUGH_S:
        times.append(_product_s(left, right, clock))
    return 2 * side**3 / min(times) / 1e9


def _product_s(left: torch.Tensor, right: torch.Tensor, clock: Clock) -> float:
    began = clock()
    torch.mm(left, right)
    return clock() - began


def _processor() -> str:
    """The processor's name; Linux keeps it where `platform` does not look."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), platform.processor() or platform.machine())


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, ValueError, OSError):  # a system that does not say
        return None


def _versions(libraries: Sequence[str]) -> dict[str, str]:
    found = {"sge-serve": __version__, "python": platform.python_version()}
    for name in libraries:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
