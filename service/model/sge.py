"""Spatial Group-wise Enhance (Li, Hu, Yang 2019, arXiv:1905.09646).

B: batch, C: channels, G: groups, H and W: height and width of a feature map.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

EPSILON = 1e-5  # added to the standard deviation itself, not under its root; subnormal in float16


class SpatialGroupEnhance(nn.Module):
    """Weights each position of each channel group by its similarity to the group's mean.

    `weight` (gamma) and `bias` (beta) have the shape (1, G, 1, 1), as in published checkpoints.

    Args:
        channels: C, the channels of the input.
        groups: G, the contiguous channel groups; divides `channels`.
        initial_bias: beta before training. The authors' code starts at 1, a widely copied one at 0.

    Raises:
        ValueError: `groups` does not divide `channels`.
    """

    def __init__(self, channels: int, groups: int, initial_bias: float = 1.0) -> None:
        super().__init__()
        if groups < 1 or channels % groups:
            raise ValueError(f"{groups} groups do not divide {channels} channels")
        self.channels = channels
        self.groups = groups
        self.weight = nn.Parameter(torch.zeros(1, groups, 1, 1))
        self.bias = nn.Parameter(torch.full((1, groups, 1, 1), initial_bias))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Enhance a feature map.

        Args:
            x: (B, C, H, W), any floating dtype, H * W at least 2.

        Returns:
            The enhanced map, shaped and typed as `x`, and the similarity n (B, G, H, W) float32:
            zero mean and unit standard deviation over the positions of each group. The gates
            follow from it, see `gates`.
        """
        batch, channels, height, width = x.shape
        grouped = x.view(batch, self.groups, channels // self.groups, height, width)
        similarity = normalised_similarity(grouped)  # (B, G, H, W)
        gates = self.gates(similarity).to(x.dtype)
        enhanced = grouped * gates.unsqueeze(2)  # (B, G, C/G, H, W)
        return enhanced.flatten(1, 2), similarity

    def gates(self, similarity: Tensor) -> Tensor:
        """Turn similarity (B, G, H, W) into gates: same shape, float32, within (0, 1)."""
        return torch.sigmoid(similarity * self.weight.float() + self.bias.float())


def normalised_similarity(grouped: Tensor) -> Tensor:
    """Compare every position with the mean of its group.

    The arithmetic is float32 whatever the input's dtype: `EPSILON` does not exist in float16,
    and a uniform image, whose deviation is zero, must still give finite numbers.

    Args:
        grouped: (B, G, C/G, H, W), any floating dtype.

    Returns:
        (B, G, H, W) float32, the n of the paper; its deviation divides by H * W - 1.
    """
    grouped = grouped.float()
    descriptor = grouped.mean(dim=(3, 4), keepdim=True)  # (B, G, C/G, 1, 1)
    raw_similarity = (grouped * descriptor).sum(dim=2)  # (B, G, H, W)
    centred = raw_similarity - raw_similarity.mean(dim=(2, 3), keepdim=True)
    deviation = raw_similarity.std(dim=(2, 3), keepdim=True)  # (B, G, 1, 1)
    return centred / (deviation + EPSILON)
