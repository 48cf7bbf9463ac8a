"""Weights in the order in which the kernels read them.

A panel is what a kernel sums at a time: output channels, side by side for each number that is read.
K: output channels, C: input channels, P: output channels of a panel, S: side of a kernel.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_P, _Q = math.sqrt(1 / 2), math.sqrt(2)

# What a kernel of three numbers is at the points 0, p, -p, q, -q and infinity, over the product of
# a point's distances from the others (`winograd.cpp`).
_AT_POINTS = torch.tensor(
    [
        *(
            [1 / norm, point / norm, point**2 / norm]
            for point, norm in ((0, 1), (_P, -1.5), (-_P, -1.5), (_Q, 6), (-_Q, 6))
        ),
        [0, 0, 1],
    ],
    dtype=torch.float64,
)
POINTS = len(_AT_POINTS)


def pack(weight: Tensor, panel: int) -> Tensor:
    """Weights (K, C, S, S) -> (K/P, S * S * C, P)."""
    outputs = len(weight)
    rows = weight.permute(2, 3, 1, 0).reshape(-1, outputs // panel, panel)
    return rows.transpose(0, 1).contiguous()


def unpack(packed: Tensor, channels: int, side: int) -> Tensor:
    """Undo `pack`: (K, C, S, S)."""
    panels, _, panel = packed.shape
    rows = packed.transpose(0, 1).reshape(side, side, channels, panels * panel)
    return rows.permute(3, 2, 0, 1)


def pack_for_winograd(weight: Tensor, panel: int) -> Tensor:
    """Weights (K, C, 3, 3) -> (36, K/P, C, P), transformed in float64."""
    at_points = torch.einsum("ia,jb,kcab->ijck", _AT_POINTS, _AT_POINTS, weight.double())
    outputs, channels = weight.shape[:2]
    panels = at_points.float().reshape(POINTS**2, channels, outputs // panel, panel)
    return panels.transpose(1, 2).contiguous()


def unpack_from_winograd(packed: Tensor) -> Tensor:
    """Undo `pack_for_winograd` up to rounding: (K, C, 3, 3)."""
    _, panels, channels, panel = packed.shape
    at_points = packed.transpose(1, 2).reshape(POINTS, POINTS, channels, panels * panel).double()
    back = torch.linalg.pinv(_AT_POINTS)
    return torch.einsum("ai,bj,ijck->kcab", back, back, at_points).float()
