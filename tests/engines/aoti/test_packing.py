"""Weights packed when a program is built: fewer steps in a pass, the same results."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from service.engines.aoti.build import ToCompile, build_package, export_program
from service.engines.aoti.package import NETWORK
from service.engines.aoti.packing import _are_alike, _reorder
from service.engines.aoti.unlocked import load_unlocked
from tests.engine_builders import needs_compiler

SIDE = 12


class Pair(nn.Module):
    """Two convolutions, as the front of a network has them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first = nn.Conv2d(8, 16, 3, padding=1)
        self.second = nn.Conv2d(16, 32, 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Run (B, 8, S, S)."""
        return [self.second(self.first(x).relu())]


@pytest.fixture
def pair() -> Pair:
    """The network, with weights that are frozen."""
    return Pair().eval().requires_grad_(requires_grad=False).to(memory_format=torch.channels_last)


def images(count: int) -> Tensor:
    """A batch (B, 8, S, S)."""
    x = torch.randn(count, 8, SIDE, SIDE, generator=torch.Generator().manual_seed(count))
    return x.to(memory_format=torch.channels_last)


@pytest.mark.slow
@needs_compiler
def test_packed_weights_change_no_result(pair: Pair, tmp_path: Path) -> None:
    """For one image and for several; every convolution was looked at."""
    package = tmp_path / "pair.pt2"

    wanted = ToCompile({NETWORK: lambda: export_program(pair, images(3))})
    packing = build_package(wanted, package)[NETWORK]

    with package.open("rb") as file:
        program = load_unlocked(file, NETWORK)
    assert packing.packed + packing.left == 2
    assert packing.packed > 0
    for count in (1, 2, 3, 5):
        (given,) = program([images(count)])
        torch.testing.assert_close(given, pair(images(count))[0], rtol=1e-5, atol=1e-5)


def test_orders_are_compared(pair: Pair) -> None:
    """A weight that is wanted otherwise for some batch is left as it is."""
    weight = pair.first.weight
    sizes = [8, SIDE, SIDE]
    packed = _reorder(weight, [1, 1], [1, 1], [1, 1], 1, [2, *sizes])
    other = _reorder(pair.second.weight, [0, 0], [1, 1], [1, 1], 1, [2, 16, SIDE, SIDE])

    assert _are_alike(packed, [packed])
    assert not _are_alike(packed, [packed, other])
