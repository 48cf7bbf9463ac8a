"""The kernels as operators of torch: what they take, and what they compute in plain torch.

A compiled program calls them in C++ (`bindings.cpp`), without torch's dispatcher. Called from
Python they run the plain form.

B: batch, C: channels read, K: channels written, G: groups, S: side of a kernel.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from service.engines.aoti.kernels.weights import unpack, unpack_from_winograd

NEVER = 2**31 - 1
"""As `winograd_from`: no batch is large enough."""


@torch.library.custom_op("sge::convolve", mutates_args=())
def convolve(  # noqa: PLR0913, PLR0917 - an operator's arguments are what its schema says
    maps: Tensor,
    weights: Tensor,
    winograd: Tensor,
    bias: Tensor,
    side: int,
    stride: int,
    padding: int,
    winograd_from: int,  # noqa: ARG001 - both ways compute the same
    relu: bool,  # noqa: FBT001
    gates: Tensor | None,
    shortcut: Tensor | None,
) -> Tensor:
    """Convolve, and compute (sum + bias) * gate + shortcut, cut off below 0 where `relu` says so.

    Args:
        maps: (B, H, W, C) float32.
        weights: as `weights.pack` makes them; empty if every batch is convolved by Winograd.
        winograd: as `weights.pack_for_winograd` makes them; empty if no batch is.
        bias: (K) float32.
        side: S.
        stride: of the kernel.
        padding: zeros on each side.
        winograd_from: the smallest batch that is convolved by Winograd's minimal filtering.
        relu: cut off below 0 in the end.
        gates: (B, h, w, G) float32; channel k has the gate of group k % G. Not by Winograd.
        shortcut: (B, h, w, K) float32.

    Returns:
        (B, h, w, K) float32.
    """
    if winograd.numel():
        weight = unpack_from_winograd(winograd)
    else:
        weight = unpack(weights, maps.shape[-1], side)
    result = F.conv2d(maps.permute(0, 3, 1, 2), weight, bias, stride, padding).permute(0, 2, 3, 1)
    if gates is not None:
        result = result * gates.repeat(1, 1, 1, result.shape[-1] // gates.shape[-1])
    if shortcut is not None:
        result = result + shortcut
    return (result.relu() if relu else result).contiguous()


@convolve.register_fake
def _(maps: Tensor, _weights: Tensor, _winograd: Tensor, bias: Tensor, *numbers: Any) -> Tensor:
    side, stride, padding, *_ = numbers
    batch, height, width, _ = maps.shape
    sides = [(length + 2 * padding - side) // stride + 1 for length in (height, width)]
    return maps.new_empty(batch, *sides, len(bias))


@torch.library.custom_op("sge::compare", mutates_args=())
def compare(maps: Tensor, weights: Tensor, bias: Tensor, groups: int) -> Tensor:
    """Compare what a 1x1 convolution makes of each position with its groups' mean.

    Args:
        maps: (B, H, W, C) float32, what the convolution reads.
        weights: the convolution's, as `weights.pack` makes them.
        bias: (K) float32.
        groups: G; channel k is of group k % G.

    Returns:
        (B, H, W, G) float32: the product of each position with the mean over positions, over a
        group's channels, less the mean of these products.
    """
    batch, height, width, channels = maps.shape
    result = maps @ unpack(weights, channels, 1).flatten(1).t() + bias
    grouped = result.view(batch, height, width, -1, groups)
    products = (grouped * grouped.mean(dim=(1, 2), keepdim=True)).sum(dim=3)
    return products - products.mean(dim=(1, 2), keepdim=True)


@compare.register_fake
def _(maps: Tensor, _weights: Tensor, _bias: Tensor, groups: int) -> Tensor:
    return maps.new_empty(*maps.shape[:3], groups)


_TENSOR, _OPTIONAL, _NUMBER, _FLAG = "AtenTensorHandle", "AtenTensorHandle*", "int64_t", "int32_t"


def _declared(name: str, *arguments: str) -> str:
    """An operator's declaration in C; its result comes last."""
    return f"AOTITorchError aoti_torch_cpu_{name}({', '.join(arguments)}, AtenTensorHandle*)"


C_SHIMS = {
    torch.ops.sge.convolve.default: [
        _declared("convolve", *[_TENSOR] * 4, *[_NUMBER] * 4, _FLAG, *[_OPTIONAL] * 2)
    ],
    torch.ops.sge.compare.default: [_declared("compare", *[_TENSOR] * 3, _NUMBER)],
}
"""The operators' declarations in C, for a compiled program."""
