"""Batches on their way to a device, and what comes back."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from service.engines.staging import fetch, in_one_copy, page_locked
from service.model.resnet import Outputs


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


def test_outputs_come_in_one_copy() -> None:
    """After one wait, each with its shape, also where it lies in another order on the device."""
    logits = torch.arange(6.0).view(2, 3)
    similarity = torch.arange(16.0).view(2, 2, 2, 2).permute(0, 3, 1, 2)
    waits: list[torch.device] = []

    arrays = in_one_copy([logits, similarity], waits.append)

    assert waits == [torch.device("cpu")]
    for array, tensor in zip(arrays, (logits, similarity), strict=True):
        np.testing.assert_array_equal(array, tensor.numpy())


def test_outputs_of_a_cpu_stay_where_they_are() -> None:
    """Nothing is copied."""
    similarities = {"layer4.1": torch.ones(2, 8, 2, 2)}
    outputs = Outputs(torch.ones(2, 3), similarities, torch.ones(2, 8, 64, 2, 2))

    fetched = fetch(outputs)

    outputs.logits[0, 0] = 5
    assert fetched.logits[0, 0] == 5
    assert fetched.similarities["layer4.1"].shape == (2, 8, 2, 2)
    assert fetched.features is not None
    assert fetched.features.shape == (2, 8, 64, 2, 2)
