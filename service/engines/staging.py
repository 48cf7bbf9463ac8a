"""Memory of the host that a GPU copies to and from by itself."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


def page_locked(batch: Tensor, lock: Callable[[Tensor], Tensor] = Tensor.pin_memory) -> Tensor:
    """Copy a batch into page-locked memory; where that fails, give it back as it is.

    Such a batch is copied to the device more slowly. If the device itself is the reason, its
    next call tells, on the thread that owns it.

    Args:
        batch: on the CPU.
        lock: copies it.
    """
    try:
        return lock(batch)
    except RuntimeError:
        return batch
