"""Whether this machine has what an engine is told to run on, as far as it shows without torch."""

from __future__ import annotations

import ctypes
import importlib.util
import runpy
from dataclasses import dataclass
from pathlib import Path

from service.config import Settings
from service.errors import BadSetting

# By the major version of CUDA, the first driver whose programs run on it: NVIDIA's table of
# "minor version compatibility".
FIRST_DRIVERS = {"12": "R525", "13": "R580"}


@dataclass(frozen=True, slots=True)
class Installed:
    """What is there to run engines on a GPU.

    Attributes:
        torch_cuda: the version of CUDA that torch was made for; None where it was made for none.
        driver_cuda: the newest that the driver runs, 13000 for 13.0; None where there is no driver.
        has_tensorrt: whether Torch-TensorRT and TensorRT's own libraries are there.
    """

    torch_cuda: str | None
    driver_cuda: int | None
    has_tensorrt: bool


def check_engine(settings: Settings, installed: Installed) -> None:
    """Refuse a device or an engine that is asked for by name and cannot be had.

    What passes may still turn out not to run: only torch can tell what a GPU is.

    Raises:
        BadSetting: in the words that the choice of an engine would have for it.
    """
    if settings.engine == "stub":
        return
    reason = why_no_cuda(installed.torch_cuda, installed.driver_cuda)
    if settings.device == "cuda" and reason:
        raise no_gpu(reason)
    if settings.engine == "tensorrt":
        is_without_gpu = settings.device == "cpu" or installed.driver_cuda is None
        if is_without_gpu or not installed.has_tensorrt:
            raise no_tensorrt()


def why_no_cuda(torch_cuda: str | None, driver_cuda: int | None) -> str | None:
    """Why no GPU whatever could be used; None where one could."""
    if torch_cuda is None:
        return "this torch is built without CUDA"
    if driver_cuda is None:
        return "there is no NVIDIA driver"
    major = torch_cuda.partition(".")[0]
    if driver_cuda // 1000 >= int(major):
        return None
    runs = f"{driver_cuda // 1000}.{driver_cuda % 1000 // 10}"
    floor = FIRST_DRIVERS.get(major)
    return f"the driver runs CUDA {runs} at most, and this torch needs {torch_cuda}" + (
        f": driver {floor} or newer" if floor else ""
    )


def no_gpu(reason: str) -> BadSetting:
    """What is said where CUDA was asked for by name and cannot be used."""
    return BadSetting(f"SGE_DEVICE=cuda, but {reason}")


def no_tensorrt() -> BadSetting:
    """What is said where TensorRT was asked for by name and cannot be used."""
    return BadSetting(
        "SGE_ENGINE=tensorrt needs a CUDA device and pip install 'sge-serve[tensorrt]'"
    )


def find_installed() -> Installed:
    """Look at this machine and at what is installed; torch is not imported."""
    return Installed(cuda_of_torch(), cuda_of_driver(), tensorrt_is_installed())


def cuda_of_torch() -> str | None:
    """The version of CUDA that torch says it was made for, from the file in which it says so."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    cuda: str | None = runpy.run_path(str(Path(spec.origin).with_name("version.py")))["cuda"]
    return cuda


def cuda_of_driver() -> int | None:
    """Ask the driver itself: torch tells no more than that it found no device."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    version = ctypes.c_int()
    return None if driver.cuDriverGetVersion(ctypes.byref(version)) else version.value


def tensorrt_is_installed() -> bool:
    """Whether Torch-TensorRT and TensorRT's own libraries are there; imports neither."""
    return all(importlib.util.find_spec(name) for name in ("torch_tensorrt", "tensorrt"))
