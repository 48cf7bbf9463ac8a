"""Engines of the tiny network, for the tests of several modules."""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import torch

from service.engines.aoti.engine import CompiledEngine
from service.engines.background_build import Build
from service.engines.eager import EagerEngine
from tests.running import noise, tiny_model

CPU = torch.device("cpu")

PYTHON_HEADER = Path(sysconfig.get_path("include")) / "Python.h"
needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None or not PYTHON_HEADER.exists(),
    reason="torch.compile needs a C++ compiler and Python's headers on a CPU",
)


def eager(precision: str = "fp32", device: str = "cpu") -> EagerEngine:
    """The tiny network on the eager engine."""
    return EagerEngine(tiny_model(), torch.device(device), precision)


def compiled(
    cache_dir: Path, precision: str = "fp32", device: str = "cpu", build: Build | None = None
) -> CompiledEngine:
    """The tiny network on the compiled engine."""
    return CompiledEngine(
        tiny_model(),
        torch.device(device),
        precision,
        max_batch=4,
        cache_dir=cache_dir,
        build=build,
    )


def rows(*seeds: int) -> list[np.ndarray]:
    """Pixels (3, 32, 32) uint8 of noise, one a seed."""
    return [noise(seed).transpose(2, 0, 1).copy() for seed in seeds]


def refuse(*_: object) -> None:
    """Stands where a compiler would begin its work."""
    raise NotImplementedError
