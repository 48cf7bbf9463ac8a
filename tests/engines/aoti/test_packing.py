"""Weights packed when a program is built: fewer steps in a pass, the same results."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import Graph

from service.engines.aoti import packing
from service.engines.aoti.build import build_package, export_program
from service.engines.aoti.package import FRONT, FRONT_OF_ONE, BySize
from service.engines.aoti.packing import Packing, packing_pass
from service.engines.aoti.unlocked import load_unlocked, names_in
from tests.engine_builders import needs_compiler

pytestmark = [needs_compiler, pytest.mark.slow]

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


@pytest.fixture(scope="module")
def pair() -> Pair:
    """The network, with weights that are frozen."""
    return Pair().eval().requires_grad_(requires_grad=False).to(memory_format=torch.channels_last)


def images(count: int) -> Tensor:
    """A batch (B, 8, S, S)."""
    x = torch.randn(count, 8, SIDE, SIDE, generator=torch.Generator().manual_seed(count))
    return x.to(memory_format=torch.channels_last)


def exported(pair: Pair) -> dict[str, ExportedProgram]:
    """The program for any batch, and the one for a batch of one."""
    one = images(1)
    return {
        FRONT: export_program(pair, images(3)),
        FRONT_OF_ONE: torch.export.export(pair, (one,)),
    }


def test_packed_weights_change_no_result(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For one image and for several; every convolution was looked at."""
    seen: list[Packing] = []

    def watched(found: Packing) -> object:
        seen.append(found)
        return packing_pass(found)

    monkeypatch.setattr(packing, "packing_pass", watched)
    package = tmp_path / "pair.pt2"
    build_package({FRONT: exported(pair)[FRONT]}, package)
    with package.open("rb") as file:
        program = load_unlocked(file, FRONT)

    (found,) = seen
    assert found.packed + found.left == 2
    assert found.packed > 0
    for count in (1, 2, 3, 5):
        (given,) = program([images(count)])
        torch.testing.assert_close(given, pair(images(count))[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("differs", [True, False])
def test_a_program_of_one_is_built_where_one_image_is_another_matter(
    pair: Pair,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    differs: bool,  # noqa: FBT001 - pytest's parameter
) -> None:
    """And only there: it takes as long to build as the program itself."""

    def pretended(found: Packing) -> object:
        def tell(_: Graph) -> None:
            found.differs_for_one = differs

        return tell

    monkeypatch.setattr(packing, "packing_pass", pretended)
    package = tmp_path / "pair.pt2"
    build_package(exported(pair), package)

    with package.open("rb") as file:
        assert names_in(file) == ({FRONT, FRONT_OF_ONE} if differs else {FRONT})
        of_one = load_unlocked(file, FRONT_OF_ONE) if differs else None
        program = load_unlocked(file, FRONT)
    if of_one is not None:
        both = BySize(of_one, program)
        for count in (1, 2):
            torch.testing.assert_close(
                both([images(count)])[0], pair(images(count))[0], rtol=1e-5, atol=1e-5
            )


def test_orders_are_compared(pair: Pair) -> None:
    """A weight that is wanted otherwise for some batch is left as it is."""
    weight = pair.first.weight
    sizes = [8, SIDE, SIDE]
    arguments = ([1, 1], [1, 1], [1, 1], 1)
    packed = packing._reorder(weight, *arguments, [2, *sizes])
    other = packing._reorder(pair.second.weight, [0, 0], [1, 1], [1, 1], 1, [2, 16, SIDE, SIDE])

    assert packing._are_alike(packed, [packed])
    assert not packing._are_alike(packed, [packed, other])
