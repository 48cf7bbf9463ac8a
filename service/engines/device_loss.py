"""Telling an error of one call from the loss of the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from service.errors import EngineLost


def wait_for(device: torch.device) -> None:
    """Wait for what this thread has asked of a device.

    Not for the whole device: while another thread has CUDA record, that would be an error.

    Raises:
        RuntimeError: it failed, or the device is lost.
    """
    torch.accelerator.current_stream(device).synchronize()


@contextmanager
def telling_device_loss(
    device: torch.device, wait: Callable[[torch.device], None] = wait_for
) -> Iterator[None]:
    """Turn an error after which every call on an accelerator fails into `EngineLost`.

    After an illegal access, a failed assertion or a hardware fault a CUDA context is beyond
    repair: whatever is asked of it next fails with the same error, whose kind differs between
    torch, Triton and other libraries. So the device itself is asked whether it still works.

    Args:
        device: on which the calls inside run; a CPU is never lost.
        wait: for the device, and raises when it is lost.

    Raises:
        EngineLost: the device is lost; the error that showed it is the cause.
    """
    try:
        yield
    except RuntimeError as error:
        if device.type != "cpu" and _is_lost(device, wait):
            raise EngineLost(f"the device {device} is lost: {error}") from error
        raise


def _is_lost(device: torch.device, wait: Callable[[torch.device], None]) -> bool:
    try:
        wait(device)
    except RuntimeError:
        return True
    return False
