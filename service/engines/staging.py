"""Memory of the host that a GPU copies to and from by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from service.engines.base import EngineOutputs
from service.engines.device_loss import wait_for
from service.model.resnet import Outputs


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


def fetch(outputs: Outputs) -> EngineOutputs:
    """Bring what a network gave to the host, and wait for it.

    The arrays of a GPU's similarities and features share their memory, which is free again when
    the last of them goes; the logits, which answers hold for longer, do not.
    """
    tensors = [outputs.logits, *outputs.similarities.values()]
    tensors += [] if outputs.features is None else [outputs.features]
    if outputs.logits.device.type == "cpu":
        logits, *arrays = [tensor.numpy() for tensor in tensors]
    else:
        logits, *arrays = in_one_copy(tensors)
        logits = logits.copy()
    features = None if outputs.features is None else arrays.pop()
    return EngineOutputs(logits, dict(zip(outputs.similarities, arrays, strict=True)), features)


def in_one_copy(
    tensors: Sequence[Tensor], wait: Callable[[torch.device], None] = wait_for
) -> list[NDArray[np.float32]]:
    """Copy float32 tensors of one device to the host together, and wait.

    A copy apiece, into memory that is not page-locked, is a wait apiece, at a fraction of the
    speed of the bus.

    Args:
        tensors: of any shapes, not empty.
        wait: for what the device was asked for.
    """
    flat = torch.cat([tensor.flatten() for tensor in tensors])  # on the device
    host = _page_locked_like(flat)
    host.copy_(flat, non_blocking=True)
    wait(flat.device)
    pieces = torch.split(host, [tensor.numel() for tensor in tensors])
    return [piece.view(tensor.shape).numpy() for piece, tensor in zip(pieces, tensors, strict=True)]


def _page_locked_like(flat: Tensor) -> Tensor:
    """Memory of the host, page-locked where there is some; torch keeps it for the next batch."""
    try:
        return torch.empty(flat.shape, dtype=flat.dtype, pin_memory=True)
    except RuntimeError:  # the copy that follows tells whether the device is the reason
        return torch.empty(flat.shape, dtype=flat.dtype)
