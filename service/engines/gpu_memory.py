"""Whether a GPU has the memory for what is about to be put there.

Not all of it goes through torch's allocator: a package brings its weights by itself, and what
CUDA records keeps what it wrote to. So the device is asked.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import torch

HEADROOM_BYTES = 256 << 20  # for workspaces of libraries, and for what others take meanwhile


def free_bytes(device: torch.device) -> int:
    """What is free on a GPU, what torch keeps for nobody included.

    Raises:
        RuntimeError: the device is lost.
    """
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(device)
    return free


def why_too_little(
    needed_bytes: int, device: torch.device, free: Callable[[torch.device], int] = free_bytes
) -> str | None:
    """Say by how much a GPU's memory is too little; None where it is enough, and on a CPU.

    Args:
        needed_bytes: of what is about to be put there.
        device: where.
        free: asks the device.

    Raises:
        RuntimeError: the device is lost.
    """
    if device.type == "cpu":
        return None
    there = free(device)
    if there >= needed_bytes + HEADROOM_BYTES:
        return None
    needed_mb, headroom_mb, there_mb = (
        round(size / 1e6) for size in (needed_bytes, HEADROOM_BYTES, there)
    )
    return (
        f"{needed_mb} MB of the GPU's memory are needed, with {headroom_mb} to spare, "
        f"and {there_mb} are free"
    )


def give_back(device: torch.device) -> None:
    """Give a GPU back what torch keeps for nobody: only torch itself could use it otherwise."""
    if device.type != "cpu":
        with contextlib.suppress(RuntimeError):  # a lost device takes nothing back
            torch.cuda.empty_cache()
