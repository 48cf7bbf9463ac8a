"""Which device, which precision and how many threads an engine uses."""

from __future__ import annotations

from collections.abc import Callable

import torch

from service.config import DeviceName, Precision
from service.errors import BadSetting

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(
    device: DeviceName, has_cuda: Callable[[], bool] = torch.cuda.is_available
) -> torch.device:
    """Take CUDA where it is wanted or, with `auto`, where there is one.

    Args:
        device: the setting.
        has_cuda: whether there is a usable CUDA device.

    Raises:
        BadSetting: CUDA was asked for by name and is not there.
    """
    use_cuda = device != "cpu" and has_cuda()
    if device == "cuda" and not use_cuda:
        raise BadSetting("SGE_DEVICE=cuda, but torch finds no usable CUDA device")
    if use_cuda:
        torch.backends.cudnn.allow_tf32 = False  # fp32 means fp32; whoever wants speed takes bf16
    return torch.device("cuda" if use_cuda else "cpu")


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
