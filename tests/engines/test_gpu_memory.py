"""Whether a GPU's memory is enough for what is about to be put there."""

from __future__ import annotations

import pytest
import torch

from service.engines.gpu_memory import HEADROOM_BYTES, give_back, why_too_little
from tests.engine_builders import CPU, no_cuda

CUDA = torch.device("cuda")


@pytest.mark.parametrize("spare", [0, 1])
def test_enough_memory_stands_in_no_way(spare: int) -> None:
    """With what is left for others."""
    assert why_too_little(1000, CUDA, lambda _: 1000 + HEADROOM_BYTES + spare) is None


def test_too_little_memory_is_told_in_numbers() -> None:
    """What is needed, what is left for others, and what there is."""
    reason = why_too_little(102_000_000, CUDA, lambda _: 300_000_000)

    assert reason == ("102 MB of the GPU's memory are needed, with 268 to spare, and 300 are free")


def test_a_cpu_is_not_asked() -> None:
    """Its memory is the process's own."""

    def fail(_: torch.device) -> int:
        raise RuntimeError

    assert why_too_little(1 << 60, CPU, fail) is None


@no_cuda
def test_a_lost_device_takes_nothing_back() -> None:
    """Closing an engine never fails."""
    for device in (CPU, CUDA):
        give_back(device)
