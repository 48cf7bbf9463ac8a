"""Which device, which precision and how many threads an engine uses."""

from __future__ import annotations

from collections.abc import Callable

import structlog
import torch

from service.config import DeviceName, Precision
from service.engines.driver import no_gpu
from service.engines.gpu import GpuSurvey, survey_gpu

log = structlog.stdlib.get_logger(__name__)

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(device: DeviceName, survey: Callable[[], GpuSurvey] = survey_gpu) -> torch.device:
    """Take CUDA where it is wanted or, with `auto`, where there is a GPU that can be used.

    Args:
        device: the setting.
        survey: looks at the GPU.

    Raises:
        BadSetting: CUDA was asked for by name and cannot be used.
    """
    if device == "cpu":
        return torch.device("cpu")
    gpu = survey()
    reason = gpu.why_not()
    if reason is None:
        torch.backends.cudnn.allow_tf32 = False  # fp32 means fp32; whoever wants speed takes bf16
        return torch.device("cuda")
    if device == "cuda":
        raise no_gpu(reason)
    if gpu.has_driver:
        log.warning("GPU is not used", reason=reason)
    return torch.device("cpu")


def choose_precision(precision: Precision, device: torch.device) -> str:
    """Resolve `auto`: half precision where the device multiplies it natively, else fp32.

    On a CPU that is bf16 with AVX-512 BF16 or AMX; elsewhere bf16 is emulated and slower than
    fp32. On CUDA it is bf16 from Ampere on and fp16 before.
    """
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    can = torch.cpu.get_capabilities()
    return "bf16" if can.get("avx512_bf16") or can.get("amx_bf16") else "fp32"


def choose_threads(threads: int, quota: int | None) -> int:
    """Resolve 0: torch's default, one a core, unless a container grants fewer cores.

    Args:
        threads: of one forward pass on a CPU, or 0.
        quota: from `cores.core_quota`.
    """
    default = torch.get_num_threads()
    return threads or min(default, quota or default)
