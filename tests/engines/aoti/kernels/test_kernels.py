"""The kernels compute what their operators say, for every shape of map that a network has."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from service.engines.aoti.kernels import operators
from service.engines.aoti.kernels.library import (
    Kernels,
    compile_kernels,
    kernels_of_this_process,
)
from service.engines.aoti.kernels.operators import NEVER
from service.engines.aoti.kernels.weights import (
    pack,
    pack_for_winograd,
    unpack,
    unpack_from_winograd,
)
from tests.engine_builders import needs_compiler

NOTHING = torch.empty(0)
ROUNDING = 1e-5  # of the largest value: what is asked of Winograd's method, with room


@pytest.fixture(scope="module")
def kernels() -> Kernels:
    """The kernels for this processor."""
    return kernels_of_this_process()


def numbers(generator: torch.Generator, *sizes: int) -> Tensor:
    """Normal numbers."""
    return torch.randn(*sizes, generator=generator)


def weights(generator: torch.Generator, outputs: int, channels: int, side: int) -> Tensor:
    """Weights as large as a ResNet's are at first."""
    scale = math.sqrt(2 / (channels * side**2))
    return scale * numbers(generator, outputs, channels, side, side)


def exact(maps: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: int) -> Tensor:
    """The convolution in float64: (B, h, w, K)."""
    wide = (maps.permute(0, 3, 1, 2).double(), weight.double(), bias.double())
    return F.conv2d(*wide, stride, padding).permute(0, 2, 3, 1)


def error(given: Tensor, expected: Tensor) -> float:
    """The largest difference over the largest value."""
    assert given.shape == expected.shape
    return float((given - expected).abs().max() / expected.abs().max())


@needs_compiler
@pytest.mark.parametrize(
    "convolution", [(1, 1, 0), (1, 2, 0), (3, 1, 1), (3, 2, 1), (7, 2, 3), (3, 2, 0)]
)
@pytest.mark.parametrize("sizes", [(1, 7, 9), (3, 14, 8), (2, 31, 7)])
def test_directly(
    kernels: Kernels,
    generator: torch.Generator,
    convolution: tuple[int, int, int],
    sizes: tuple[int, int, int],
) -> None:
    """Any side, stride and padding, also of three channels, to the rounding of float32."""
    side, stride, padding = convolution
    for channels in (3, 48):
        maps = numbers(generator, *sizes, channels)
        weight, bias = weights(generator, 64, channels, side), numbers(generator, 64)
        packed = pack(weight, kernels.panel)

        given = kernels.convolve(maps, packed, NOTHING, bias, side, stride, padding, NEVER, 0)

        assert error(given, exact(maps, weight, bias, stride, padding)) < 2e-6


@needs_compiler
@pytest.mark.parametrize("height", range(1, 16))
def test_by_winograd_for_every_size_of_the_last_tile(
    kernels: Kernels, generator: torch.Generator, height: int
) -> None:
    """A map ends in tiles of 1 to 4 outputs each way, and may be smaller than one tile."""
    weight, bias = weights(generator, 64, 32, 3), numbers(generator, 64)
    packed = pack_for_winograd(weight, kernels.panel)
    for width in (1, 2, 3, 4, 5, 10):
        maps = numbers(generator, 2, height, width, 32)

        given = kernels.convolve(maps, NOTHING, packed, bias, 3, 1, 1, 1, 0)

        assert error(given, exact(maps, weight, bias, 1, 1)) < ROUNDING


@needs_compiler
@pytest.mark.parametrize(("channels", "side_px"), [(64, 56), (128, 28), (256, 14), (512, 7)])
@pytest.mark.parametrize("batch", [1, 3])
def test_by_winograd_in_the_layers_of_a_resnet(
    kernels: Kernels, generator: torch.Generator, channels: int, side_px: int, batch: int
) -> None:
    """Both ways in which threads share the work, with sums over up to 512 channels."""
    maps = numbers(generator, batch, side_px, side_px, channels)
    weight, bias = weights(generator, channels, channels, 3), numbers(generator, channels)
    packed = pack_for_winograd(weight, kernels.panel)

    given = kernels.convolve(maps, NOTHING, packed, bias, 3, 1, 1, 1, 0)

    assert error(given, exact(maps, weight, bias, 1, 1)) < ROUNDING


@needs_compiler
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("batch", [1, 5])
def test_gates_shortcut_and_relu(
    kernels: Kernels, generator: torch.Generator, batch: int, *, relu: bool
) -> None:
    """What follows a convolution is done in the same pass, in the order that the block has."""
    maps = numbers(generator, batch, 7, 7, 64)
    weight, bias = weights(generator, 256, 64, 1), numbers(generator, 256)
    packed = pack(weight, kernels.panel)
    gates, shortcut = torch.rand(batch, 7, 7, 64), numbers(generator, batch, 7, 7, 256)
    for given_gates in (gates, None):
        given = kernels.convolve(
            *(maps, packed, NOTHING, bias, 1, 1, 0, NEVER, relu),
            gates=given_gates,
            shortcut=shortcut,
        )

        expected = operators.convolve(
            maps, packed, NOTHING, bias, 1, 1, 0, NEVER, relu, given_gates, shortcut
        )
        assert error(given, expected) < 2e-6
        assert not relu or given.min() == 0


@needs_compiler
def test_gates_of_groups_that_are_no_power_of_two(
    kernels: Kernels, generator: torch.Generator
) -> None:
    """Panels begin at any of a few groups."""
    maps, bias = numbers(generator, 1, 13, 13, 16), numbers(generator, 480)
    packed = pack(weights(generator, 480, 16, 1), kernels.panel)
    gates = torch.rand(1, 13, 13, 3 * kernels.panel)

    given = kernels.convolve(maps, packed, NOTHING, bias, 1, 1, 0, NEVER, 0, gates=gates)

    expected = operators.convolve(maps, packed, NOTHING, bias, 1, 1, 0, NEVER, False, gates, None)
    assert error(given, expected) < 2e-6


@needs_compiler
def test_what_is_no_number_is_not_cut_off(kernels: Kernels, generator: torch.Generator) -> None:
    """A broken image is seen as one."""
    maps, weight = numbers(generator, 2, 4, 4, 16), weights(generator, 64, 16, 3)
    maps[0] = float("nan")
    for packed in (
        (pack(weight, kernels.panel), NOTHING, torch.zeros(64), 3, 1, 1, NEVER, 1),
        (NOTHING, pack_for_winograd(weight, kernels.panel), torch.zeros(64), 3, 1, 1, 1, 1),
    ):
        given = kernels.convolve(maps, *packed)

        assert given[0].isnan().all()
        assert given[1].isfinite().all()


@needs_compiler
@pytest.mark.parametrize(
    "what", ["not contiguous", "not float32", "weights of another", "no gates", "no whole panels"]
)
def test_what_a_kernel_cannot_read_is_refused(
    kernels: Kernels, generator: torch.Generator, capfd: pytest.CaptureFixture[str], what: str
) -> None:
    """Rather than read as what it is not."""
    maps, weight = numbers(generator, 2, 4, 4, 16), weights(generator, 64, 16, 1)
    packed = pack(weight, kernels.panel)
    given = {
        "not contiguous": (maps.transpose(1, 3), packed),
        "not float32": (maps.double(), packed),
        "weights of another": (maps, pack(weight, 8)),
    }.get(what, (maps, packed))
    gates = {
        "no gates": torch.rand(2, 4, 4, kernels.panel),
        "no whole panels": torch.rand(2, 4, 4, 8),
    }.get(what)
    winograd_from = 1 if what == "no gates" else NEVER

    with pytest.raises(RuntimeError):
        kernels.convolve(
            given[0], given[1], NOTHING, torch.zeros(64), 1, 1, 0, winograd_from, 0, gates=gates
        )

    assert what in capfd.readouterr().err


@needs_compiler
@pytest.mark.parametrize(("batch", "side_px"), [(1, 14), (2, 7), (5, 3), (1, 112), (35, 2)])
@pytest.mark.parametrize("groups", [32, 64])
def test_compare(
    kernels: Kernels, generator: torch.Generator, batch: int, side_px: int, groups: int
) -> None:
    """From the input alone, what would be computed from the convolution's output."""
    maps = numbers(generator, batch, side_px, side_px, 64).relu()
    weight, bias = weights(generator, 256, 64, 1), numbers(generator, 256)
    packed = pack(weight, kernels.panel)

    given = kernels.compare(maps, packed, bias, groups)

    expected = operators.compare(maps.double(), packed.double(), bias.double(), groups)
    assert error(given, expected) < ROUNDING
    means = given.mean(dim=(1, 2))
    torch.testing.assert_close(means, torch.zeros_like(means), atol=1e-5, rtol=0)


@needs_compiler
def test_the_smallest_batch_by_winograd(kernels: Kernels, generator: torch.Generator) -> None:
    """Below it the other weights are read: here they are another layer's."""
    one, other = (weights(generator, 64, 32, 3) for _ in range(2))
    bias = torch.zeros(64)
    ways = (pack(one, kernels.panel), pack_for_winograd(other, kernels.panel))
    for batch, weight in ((1, one), (2, other), (3, other)):
        maps = numbers(generator, batch, 5, 5, 32)

        given = kernels.convolve(maps, *ways, bias, 3, 1, 1, 2, 0)

        assert error(given, exact(maps, weight, bias, 1, 1)) < ROUNDING


@needs_compiler
def test_any_number_of_threads(kernels: Kernels, generator: torch.Generator) -> None:
    """More threads than there is work for, and one."""
    maps = numbers(generator, 1, 6, 6, 64)
    weight, bias = weights(generator, 64, 64, 3), numbers(generator, 64)
    packed = pack_for_winograd(weight, kernels.panel)
    before = torch.get_num_threads()
    try:
        for threads in (1, 3, 16):
            torch.set_num_threads(threads)
            given = kernels.convolve(maps, NOTHING, packed, bias, 3, 1, 1, 1, 0)
            assert error(given, exact(maps, weight, bias, 1, 1)) < ROUNDING
    finally:
        torch.set_num_threads(before)


@needs_compiler
@pytest.mark.slow
def test_vectors_of_another_width(generator: torch.Generator, tmp_path: Path) -> None:
    """What AVX-512 runs, 16 numbers at a time, compiled for whatever this processor has."""
    wide = compile_kernels(tmp_path, "-DSGE_LANES=16", "-O1")  # sooner than -O3
    assert wide.panel == 32

    test_directly(wide, generator, (3, 2, 1), (3, 14, 8))
    test_by_winograd_for_every_size_of_the_last_tile(wide, generator, 7)
    test_by_winograd_in_the_layers_of_a_resnet(wide, generator, 128, 28, 3)
    test_gates_shortcut_and_relu(wide, generator, 5, relu=True)
    test_compare(wide, generator, 2, 7, 64)


@needs_compiler
def test_a_compiler_that_fails_is_told(tmp_path: Path) -> None:
    """In its own words."""
    with pytest.raises(RuntimeError, match="no-such-flag"):
        compile_kernels(tmp_path, "-no-such-flag")


@pytest.mark.parametrize("panel", [16, 32])
def test_packed_weights_are_the_weights(generator: torch.Generator, panel: int) -> None:
    """Both orders can be undone: the second up to rounding."""
    weight = weights(generator, 64, 48, 3)

    assert torch.equal(unpack(pack(weight, panel), 48, 3), weight)
    torch.testing.assert_close(unpack_from_winograd(pack_for_winograd(weight, panel)), weight)


def test_operators_are_what_the_exporter_believes(generator: torch.Generator) -> None:
    """Their shapes without numbers are those with numbers, and nothing is changed in place."""
    maps, bias = numbers(generator, 2, 5, 5, 16), numbers(generator, 64)
    packed = pack(weights(generator, 64, 16, 1), 16)
    gates, shortcut = torch.rand(2, 5, 5, 16), numbers(generator, 2, 5, 5, 64)

    convolved = (maps, packed, NOTHING, bias, 1, 1, 0, NEVER, True, gates, shortcut)
    torch.library.opcheck(torch.ops.sge.convolve, convolved, test_utils=CHECKED)
    torch.library.opcheck(torch.ops.sge.compare, (maps, packed, bias, 16), test_utils=CHECKED)


CHECKED = ("test_schema", "test_faketensor")
