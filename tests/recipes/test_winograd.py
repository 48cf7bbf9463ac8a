"""Convolutions of small maps by tiles, in the shipped model's recipe."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recipe import winograd
from recipe.network import SPEC, hasten, logits_of
from service.model.resnet import plain_resnet

BATCH, CHANNELS_IN, CHANNELS_OUT = 3, 8, 6


@torch.no_grad()
def relative_error(seen: Tensor, exact: Tensor) -> float:
    """The largest difference, as a share of the largest value."""
    return ((seen - exact).abs().max() / exact.abs().max()).item()


@pytest.mark.parametrize("outputs", [2, 4])
def test_a_filter_is_exact(outputs: int) -> None:
    """Its three matrices multiply out to a correlation, up to the rounding of float64."""
    line = winograd.minimal_filter(outputs)
    signal = torch.arange(1, outputs + 3, dtype=torch.float64) ** 2
    taps = torch.tensor([3.0, -1.0, 5.0], dtype=torch.float64)

    filtered = line.of_products @ ((line.of_weights @ taps) * (line.of_inputs @ signal))

    torch.testing.assert_close(filtered, signal.unfold(0, 3, 1) @ taps, rtol=1e-13, atol=0)


@pytest.mark.parametrize("side", [1, 2, 3, 4, 5, 7, 8])
def test_maps_and_gradients_are_the_convolutions(side: int, generator: torch.Generator) -> None:
    """On maps that tiles fill and on those they overhang.

    The tolerance is a hundred times float32's: the tiles of 4 multiply by up to 16 and cancel.
    """
    x = torch.randn(BATCH, CHANNELS_IN, side, side, generator=generator, requires_grad=True)
    weight = torch.randn(CHANNELS_OUT, CHANNELS_IN, 3, 3, generator=generator, requires_grad=True)
    towards = torch.randn(BATCH, CHANNELS_OUT, side, side, generator=generator)

    seen = winograd.convolve(x, weight)
    gradients = torch.autograd.grad(seen, (x, weight), towards)

    wide_x, wide_weight = (tensor.detach().double().requires_grad_() for tensor in (x, weight))
    exact = F.conv2d(wide_x, wide_weight, padding=1)
    exact_gradients = torch.autograd.grad(exact, (wide_x, wide_weight), towards.double())
    pairs = zip((seen, *gradients), (exact, *exact_gradients), strict=True)
    assert max(relative_error(ours, theirs) for ours, theirs in pairs) < 1e-5
    assert seen.is_contiguous(memory_format=torch.channels_last)


def test_a_map_may_be_asked_for_without_gradients_first(generator: torch.Generator) -> None:
    """What is kept of its tiling serves training after that."""
    winograd.tiling.cache_clear()
    x = torch.randn(1, 2, 4, 4, generator=generator)
    weight = torch.randn(2, 2, 3, 3, generator=generator, requires_grad=True)
    with torch.inference_mode():
        winograd.convolve(x, weight)

    winograd.convolve(x, weight).sum().backward()  # type: ignore[no-untyped-call]

    assert weight.grad is not None


@pytest.mark.parametrize(
    ("convolution", "can"),
    [
        (nn.Conv2d(4, 8, 3, padding=1, bias=False), True),
        (nn.Conv2d(4, 8, 3, padding=1), False),
        (nn.Conv2d(4, 8, 3, padding=1, stride=2, bias=False), False),
        (nn.Conv2d(4, 8, 1, bias=False), False),
        (nn.Conv2d(4, 8, 3, padding=1, groups=2, bias=False), False),
        (nn.Conv2d(4, 8, 3, padding=2, dilation=2, bias=False), False),
        (nn.Conv2d(4, 8, 3, padding=1, dilation=2, bias=False), False),
    ],
    ids=["plain", "bias", "stride", "1x1", "groups", "padding", "dilation"],
)
def test_only_convolutions_of_its_kind_are_replaced(convolution: nn.Conv2d, *, can: bool) -> None:
    """3x3, of stride 1 and padding 1, and nothing besides."""
    assert winograd.can_stand_in(convolution) is can


def test_a_hastened_network_computes_the_same(generator: torch.Generator) -> None:
    """Six of its convolutions go by tiles; its logits are those of the network as built."""
    torch.manual_seed(1)
    network = plain_resnet(SPEC).eval()
    pixels = torch.rand(4, 3, SPEC.input_px, SPEC.input_px, generator=generator)
    with torch.inference_mode():
        as_built = logits_of(network, pixels)

        hasten(network)

        hastened = logits_of(network, pixels)
    replaced = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and "forward" in vars(module)
    ]
    assert replaced == [
        f"{stage}.{convolution}"
        for stage in ("layer3", "layer4")
        for convolution in ("0.conv2", "1.conv1", "1.conv2")
    ]
    assert relative_error(hastened, as_built) < 1e-4
