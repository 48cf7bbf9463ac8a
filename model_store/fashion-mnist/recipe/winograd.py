"""3x3 convolutions of small maps as matrix products over tiles.

Winograd's minimal filtering (Lavin, Gray 2015, arXiv:1509.09308), where oneDNN convolves as
written. A tile of m x m outputs takes (m + 2)^2 products a pair of channels instead of 9 m^2: a
quarter at m = 4. Every step is linear, so autograd finds the gradients by the same products. With
it in the last two stages, a training step of the shipped model without SGE took 0.73 of its time
at 28 px and 0.87 at 56 px (medians of five, two AVX-512 cores).

B: batch, C: channels in, K: channels out, S: side of the map, T: tiles a map, P: products a tile,
(m + 2)^2.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class MinimalFilter:
    """F(m, 3): how m outputs of a 3-tap filter follow from m + 2 products.

    Attributes:
        of_inputs: (m + 2, m + 2) float64, called B^T by the paper.
        of_weights: (m + 2, 3) float64, G.
        of_products: (m, m + 2) float64, A^T.
    """

    of_inputs: Tensor
    of_weights: Tensor
    of_products: Tensor


def minimal_filter(outputs: int) -> MinimalFilter:
    """F(m, 3) by Toom and Cook: outputs evaluated at 0, 1, -1, 2, -2, ... and infinity."""
    points = torch.tensor([0.0, 1, -1, 2, -2][: outputs + 1], dtype=torch.float64)
    at_infinity = torch.zeros(1, outputs + 2, dtype=torch.float64)
    at_infinity[0, -1] = 1
    powers = torch.cat([points.unsqueeze(1) ** torch.arange(outputs + 2), at_infinity])

    def evaluate(length: int) -> Tensor:
        rows = powers[:, :length].clone()
        rows[-1] = 0
        rows[-1, -1] = 1
        return rows

    # The transpose of a multiplication of polynomials is a correlation.
    return MinimalFilter(torch.linalg.inv(powers).T, evaluate(3), evaluate(outputs).T)


@dataclass(frozen=True, slots=True)
class Tiling:
    """The same for whole maps, flattened: float32.

    Attributes:
        of_inputs: (P * T, S * S).
        of_weights: (P, 9).
        of_products: (S * S, P * T).
    """

    of_inputs: Tensor
    of_weights: Tensor
    of_products: Tensor


@functools.cache
@torch.inference_mode(mode=False)  # what is kept has to serve training, whoever asks first
def tiling(side: int) -> Tiling:
    """Cover a map of S x S with tiles of 4 x 4 outputs, or of 2 x 2 where it is no larger."""
    outputs = 4 if side > 2 else 2
    tiles = -(-side // outputs)
    line = minimal_filter(outputs)
    inputs = torch.zeros(outputs + 2, tiles, side, dtype=torch.float64)
    products = torch.zeros(side, outputs + 2, tiles, dtype=torch.float64)
    for tile in range(tiles):
        for place in range(outputs + 2):
            if 0 <= (seen := tile * outputs + place - 1) < side:
                inputs[:, tile, seen] = line.of_inputs[:, place]
        for place in range(outputs):
            if (seen := tile * outputs + place) < side:
                products[seen, :, tile] = line.of_products[place]
    count = (outputs + 2) ** 2
    return Tiling(
        torch.einsum("ptx,quy->pqtuxy", inputs, inputs).reshape(-1, side * side).float(),
        torch.kron(line.of_weights, line.of_weights).view(count, 9).float(),
        torch.einsum("xpt,yqu->xypqtu", products, products).reshape(side * side, -1).float(),
    )


def convolve(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve with stride 1 and padding 1.

    Args:
        x: (B, C, S, S) float32.
        weight: (K, C, 3, 3) float32.

    Returns:
        (B, K, S, S) float32, channels last; `F.conv2d`'s up to rounding.
    """
    batch, channels, side, _ = x.shape
    maps = tiling(side)
    products = len(maps.of_weights)
    positions = x.permute(2, 3, 0, 1).reshape(side * side, batch * channels)
    inputs = (maps.of_inputs @ positions).view(products, -1, channels)  # (P, T*B, C)
    taps = weight.permute(2, 3, 0, 1).reshape(9, -1)
    weights = (maps.of_weights @ taps).view(products, -1, channels)  # (P, K, C)
    multiplied = torch.bmm(inputs, weights.transpose(1, 2))  # (P, T*B, K)
    outputs = maps.of_products @ multiplied.view(maps.of_products.shape[1], -1)  # (S*S, B*K)
    return (
        outputs.view(side, side, batch, -1)
        .permute(2, 3, 0, 1)
        .contiguous(memory_format=torch.channels_last)
    )


def can_stand_in(convolution: nn.Conv2d) -> bool:
    """Whether `forward` computes this convolution."""
    shape = (convolution.kernel_size, convolution.stride, convolution.padding)
    kind = (convolution.dilation, convolution.groups, convolution.bias)
    return (*shape, *kind) == ((3, 3), (1, 1), (1, 1), (1, 1), 1, None)


def forward(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    """Stand in for the `forward` of a convolution that `can_stand_in` accepts."""
    return convolve(x, convolution.weight)
