"""Which errors of a call mean that its device is lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from service.engines.device_loss import telling_device_loss
from service.errors import EngineLost

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def works(device: torch.device) -> None:
    """A device that answers."""


def fails(device: torch.device) -> None:
    """A device on which every call fails."""
    raise RuntimeError("an illegal memory access was encountered")


def test_an_error_on_a_device_that_fails_is_its_loss() -> None:
    """Whatever kind of error showed it, which is the cause."""
    with pytest.raises(EngineLost) as loss, telling_device_loss(CUDA, fails):
        raise RuntimeError("a Triton kernel failed")

    assert loss.value.message == "the device cuda is lost: a Triton kernel failed"
    assert str(loss.value.__cause__) == "a Triton kernel failed"


@pytest.mark.parametrize(("device", "wait"), [(CUDA, works), (CPU, fails)])
def test_other_errors_stay_what_they_are(
    device: torch.device, wait: Callable[[torch.device], None]
) -> None:
    """An error on a device that works, as out of memory, is that call's alone."""
    with pytest.raises(torch.OutOfMemoryError), telling_device_loss(device, wait):
        raise torch.OutOfMemoryError("no memory left")


def test_a_device_that_is_not_in_trouble_is_not_asked() -> None:
    """A call that succeeds costs nothing."""
    with telling_device_loss(CUDA, fails):
        result = 1

    assert result == 1
