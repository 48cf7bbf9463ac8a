"""The most arithmetic that a processor does, measured: in a matrix product, and in a bare loop."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from service.engines.aoti.kernels import library
from tests.bench.rounds import Clock, timed

SIDE = 1024  # of the matrices: past every cache, and done in milliseconds where bf16 is native
REPEATS = 7
ENOUGH_S = 1.0  # of products: emulated bf16 takes as long for a single one
ROUNDS = 5_000_000  # of multiply-adds: some 10 ms
SOURCE = Path(__file__).with_name("peak.cpp")


def peak_gflops(dtype: torch.dtype, clock: Clock, side: int = SIDE) -> float:
    """The best rate of a matrix product on the CPU, in 1e9 operations a second."""
    left, right = torch.rand(2, side, side).to(dtype)
    times: list[float] = []
    while len(times) < REPEATS and sum(times) < ENOUGH_S:
        times.append(timed(lambda: torch.mm(left, right), clock))
    return 2 * side**3 / min(times) / 1e9


def peak_of_multiply_adds(threads: int, clock: Clock) -> float | None:
    """The best rate of multiply-adds in float32 on the CPU, in 1e9 operations a second.

    They are compiled as the kernels are, and read no memory. None where no compiler is.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="sge-bench-") as folder:
            run = _compiled(Path(folder))
    except (OSError, RuntimeError, subprocess.CalledProcessError):
        return None
    operations = run(threads, ROUNDS)  # starts the threads
    times = [timed(lambda: run(threads, ROUNDS), clock) for _ in range(REPEATS)]
    return operations / min(times) / 1e9


def _compiled(folder: Path) -> Callable[[int, int], float]:
    from torch._inductor import cpp_builder  # noqa: PLC0415 - takes seconds

    target = folder / "peak.so"
    flags = ("-std=c++20", "-O3", "-march=native", "-fopenmp", "-fPIC", "-shared")
    command = (cpp_builder.get_cpp_compiler(), *flags, f"-I{library.SOURCES}", SOURCE, "-o", target)
    subprocess.run([str(word) for word in command], check=True, capture_output=True)
    run = ctypes.CDLL(str(target)).multiply_and_add
    run.argtypes, run.restype = [ctypes.c_int, ctypes.c_int64], ctypes.c_double
    return run
