"""The network that ships: what it sees, how it is built, and what makes training it faster.

B: batch, r: side of a training frame in pixels.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
import torch.nn.functional as F
from garments import LABELS
from torch import Tensor, nn

from service.manifest import InputContract
from service.model.resnet import ResNetSpec
from service.model.sge import SpatialGroupEnhance

CONTRACT = InputContract(size_px=56, fit="fit", mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
SPEC = ResNetSpec(
    architecture="sge_resnet18",
    classes=len(LABELS),
    groups=8,
    initial_bias=1.0,
    input_px=CONTRACT.size_px,
    stem="small",
)


def logits_of(network: nn.Module, pixels: Tensor) -> Tensor:
    """Run either network on (B, 3, r, r) in [0, 1] and return (B, 10)."""
    outputs = network((pixels - CONTRACT.mean[0]) / CONTRACT.std[0])
    logits: Tensor = outputs if isinstance(outputs, Tensor) else outputs.logits
    return logits


class GemmWeightGradient(torch.autograd.Function):
    """A 3x3 convolution of padding 1 whose weight gradient is nine matrix products.

    On maps of 2x2 positions oneDNN's own weight gradient runs at a quarter of the speed of a
    matrix product (30 against 128 GFLOP/s on two AVX2 cores), which cost a fifth of the run.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        """Convolve with stride 1."""
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, padding=1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of input and weight."""
        x, weight = ctx.saved_tensors
        x_gradient = F.conv2d(gradient, weight.flip(2, 3).transpose(0, 1), padding=1)
        height, width = x.shape[2:]
        padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
        rows = gradient.permute(0, 2, 3, 1).flatten(0, 2).t()  # (out, B*H*W)
        taps = [
            rows @ padded[:, top : top + height, left : left + width].flatten(0, 2)
            for top in range(3)
            for left in range(3)
        ]
        return x_gradient, torch.stack(taps, dim=2).view(*weight.shape)


def _convolve(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    out: Tensor = GemmWeightGradient.apply(x, convolution.weight)
    return out


def hasten(network: nn.Module) -> None:
    """Compile SGE, and let the last stage's 3x3 convolutions use `GemmWeightGradient`."""
    for module in network.modules():
        if isinstance(module, SpatialGroupEnhance):
            module.compile()
    for module in network.get_submodule("layer4").modules():
        if isinstance(module, nn.Conv2d) and module.padding == (1, 1) and module.stride == (1, 1):
            module.forward = functools.partial(_convolve, module)  # type: ignore[method-assign]
