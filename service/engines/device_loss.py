"""Telling an error of one call from the loss of the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from service.errors import EngineLost


@contextmanager
def telling_device_loss(
    device: torch.device,
    synchronize: Callable[[torch.device], None] = torch.accelerator.synchronize,
) -> Iterator[None]:
    """Turn an error after which every call on an accelerator fails into `EngineLost`.

    After an illegal access, a failed assertion or a hardware fault a CUDA context is beyond
    repair: whatever is asked of it next fails with the same error, whose kind differs between
    torch, Triton and other libraries. So the device itself is asked whether it still works.

    Args:
        device: on which the calls inside run; a CPU is never lost.
        synchronize: waits for the device, and raises when it is lost.

    Raises:
        EngineLost: the device is lost; the error that showed it is the cause.
    """
    try:
        yield
    except RuntimeError as error:
        if device.type != "cpu" and _is_lost(device, synchronize):
            raise EngineLost(f"the device {device} is lost: {error}") from error
        raise


def _is_lost(device: torch.device, synchronize: Callable[[torch.device], None]) -> bool:
    try:
        synchronize(device)
    except RuntimeError:
        return True
    return False
