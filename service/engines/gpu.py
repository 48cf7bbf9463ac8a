"""Whether there is a GPU that this torch can use, and where there is one that it cannot, why."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch

from service.engines.driver import cuda_of_driver, why_no_cuda

_ARCHITECTURE = re.compile(r"(sm|compute)_(\d+)(\d)")


@dataclass(frozen=True, slots=True)
class GpuSurvey:
    """What is to be known of a GPU before it is used.

    Attributes:
        torch_cuda: the version of CUDA that torch was made for; None where it was made for none.
        driver_cuda: the newest that the driver runs, 13000 for 13.0; None where there is no driver.
        is_available: whether torch finds a device that tells what it is.
        name: of the device.
        capability: major and minor.
        architectures: for which torch has code, such as `sm_75`, or `compute_120`, which the driver
            compiles for whatever is newer.
        error: why it does not tell, as one that is faulty or another process's alone.
    """

    torch_cuda: str | None
    driver_cuda: int | None
    is_available: bool = False
    name: str = ""
    capability: tuple[int, int] = (0, 0)
    architectures: tuple[str, ...] = ()
    error: str = ""

    @property
    def has_driver(self) -> bool:
        """Whether NVIDIA's driver is there, so that somebody may expect a GPU to be used."""
        return self.driver_cuda is not None

    def why_not(self) -> str | None:
        """What stands in the way of using the GPU; None where nothing does."""
        if reason := why_no_cuda(self.torch_cuda, self.driver_cuda):
            return reason
        if not self.is_available:
            return "torch finds no usable CUDA device" + (f": {self.error}" if self.error else "")
        if not has_code_for(self.capability, self.architectures):
            major, minor = map(str, self.capability)
            return (
                f"{self.name} is of sm_{major}{minor}, and this torch has code for "
                f"{', '.join(self.architectures)}"
            )
        return None


def has_code_for(capability: tuple[int, int], architectures: Iterable[str]) -> bool:
    """Whether code for one of the architectures runs on a GPU.

    Machine code runs on the same major version, from its own minor version on; what the driver
    compiles runs on whatever is as new.
    """
    found = [match for name in architectures if (match := _ARCHITECTURE.fullmatch(name))]
    versions = [(match[1], (int(match[2]), int(match[3]))) for match in found]
    return any(
        version <= capability and (kind == "compute" or version[0] == capability[0])
        for kind, version in versions
    )


def survey_gpu(
    driver: Callable[[], int | None] = cuda_of_driver, cuda: Any = torch.cuda
) -> GpuSurvey:
    """Look at this machine's first GPU.

    Args:
        driver: asks for the newest version of CUDA that the driver runs.
        cuda: asks for the rest, as `torch.cuda` does.
    """
    torch_cuda, driver_cuda = torch.version.cuda, driver()
    if driver_cuda is None or not cuda.is_available():
        return GpuSurvey(torch_cuda, driver_cuda)
    try:
        return GpuSurvey(
            torch_cuda,
            driver_cuda,
            is_available=True,
            name=cuda.get_device_name(),
            capability=cuda.get_device_capability(),
            architectures=tuple(cuda.get_arch_list()),
        )
    except (RuntimeError, torch.cuda.DeferredCudaCallError) as error:
        return GpuSurvey(torch_cuda, driver_cuda, error=str(error))
