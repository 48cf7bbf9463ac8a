"""Whether a GPU can be used, and what is said where it cannot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from service.engines.device import choose_device
from service.engines.driver import FIRST_DRIVERS
from service.engines.gpu import has_code_for, survey_gpu
from service.errors import BadSetting
from tests.engine_builders import CPU, USABLE_GPU, no_cuda

WHEELS = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"torch_cuda": None}, "this torch is built without CUDA"),
        ({"driver_cuda": None}, "there is no NVIDIA driver"),
        (
            {"driver_cuda": 12080},
            "the driver runs CUDA 12.8 at most, and this torch needs 13.0: driver R580 or newer",
        ),
        (
            {"torch_cuda": "14.1"},
            "the driver runs CUDA 13.0 at most, and this torch needs 14.1",
        ),
        ({"is_available": False}, "torch finds no usable CUDA device"),
        (
            {"is_available": False, "error": "busy or unavailable"},
            "torch finds no usable CUDA device: busy or unavailable",
        ),
        (
            {"capability": (6, 1), "name": "GeForce GTX 1080", "architectures": ("sm_75", "sm_80")},
            "GeForce GTX 1080 is of sm_61, and this torch has code for sm_75, sm_80",
        ),
    ],
)
def test_a_gpu_that_cannot_be_used_says_why(changes: dict[str, Any], reason: str) -> None:
    """By name it is a wrong setting, told with the reason; `auto` takes the CPU."""
    gpu = replace(USABLE_GPU, **changes)

    with pytest.raises(BadSetting) as refusal:
        choose_device("cuda", lambda: gpu)

    assert refusal.value.message == f"SGE_DEVICE=cuda, but {reason}"
    assert choose_device("auto", lambda: gpu) == CPU


@pytest.mark.parametrize("driver_cuda", [13000, 13020, 14000])
def test_a_driver_of_the_same_major_version_or_a_newer_one_is_enough(driver_cuda: int) -> None:
    """Whatever its minor version."""
    gpu = replace(USABLE_GPU, driver_cuda=driver_cuda)

    assert choose_device("auto", lambda: gpu) == torch.device("cuda")
    assert choose_device("cpu", lambda: gpu) == CPU


@pytest.mark.parametrize(
    ("capability", "architectures", "runs"),
    [
        ((7, 0), WHEELS, False),
        ((7, 5), WHEELS, True),
        ((8, 9), WHEELS, True),
        ((12, 1), WHEELS, True),
        ((11, 0), WHEELS, False),
        ((11, 0), (*WHEELS, "compute_90"), True),
        ((8, 0), ("sm_86",), False),
        ((9, 0), ("sm_90a",), False),
    ],
)
def test_code_runs_on_its_own_major_version(
    *, capability: tuple[int, int], architectures: tuple[str, ...], runs: bool
) -> None:
    """From its minor version on; what the driver compiles runs on newer ones, too."""
    assert has_code_for(capability, architectures) is runs


@no_cuda
def test_a_machine_without_a_gpu_is_looked_at() -> None:
    """Nothing is raised, and torch is not asked about a device that is not there."""
    survey = survey_gpu()

    assert (survey.torch_cuda, survey.is_available) == (torch.version.cuda, False)
    assert survey.why_not() is not None


@pytest.mark.parametrize("kind", [RuntimeError, torch.cuda.DeferredCudaCallError])
def test_a_gpu_that_answers_with_an_error_is_looked_at(kind: type[Exception]) -> None:
    """As one does that is faulty, or that another process has for itself alone."""

    def fail() -> str:
        raise kind("busy or unavailable")

    cuda = SimpleNamespace(is_available=lambda: True, get_device_name=fail)

    survey = survey_gpu(lambda: 13000, cuda)

    assert (survey.is_available, survey.error) == (False, "busy or unavailable")


@pytest.mark.skipif(torch.version.cuda is None, reason="this torch is built without CUDA")
def test_the_documents_name_the_oldest_driver_and_gpu() -> None:
    """Those of the torch that is installed."""
    text = Path("docs/engines.md").read_text(encoding="utf-8")
    major, _, _ = str(torch.version.cuda).partition(".")

    assert f"driver {FIRST_DRIVERS[major]} or newer (CUDA {major})" in text
    assert f"a GPU of {torch.cuda.get_arch_list()[0]} " in text
