"""Batches on their way to a device, and what comes back."""

from __future__ import annotations

import torch
from torch import Tensor

from service.engines.staging import page_locked


def test_a_batch_that_cannot_be_page_locked_travels_as_it_is() -> None:
    """Where page-locked memory ran out or the device is lost: the device's own thread tells."""
    batch = torch.arange(6, dtype=torch.uint8)

    def fail(_: Tensor) -> Tensor:
        raise RuntimeError("an illegal memory access was encountered")

    assert page_locked(batch, fail) is batch


def test_a_page_locked_batch_is_a_copy() -> None:
    """What locks it says where it lies."""
    batch = torch.arange(6, dtype=torch.uint8)

    assert torch.equal(page_locked(batch, Tensor.clone), batch)
