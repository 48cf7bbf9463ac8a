"""Similarities and gates -> the masks that were asked for.

G: groups of a block, N: groups of a mask, h and w: height and width of a mask, H and W: of the
model's pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.results.heat_map import draw_grey, draw_overlays
from service.results.mask_request import (
    GroupChoice,
    ListedGroups,
    MaskRequest,
    MeanOfGroups,
    WidestGroups,
)
from service.results.query import MaskFormat, MaskKind

_SIMILARITY_SPAN = 3.0  # standard deviations on either side of the mean that a PNG can show


@dataclass(frozen=True, slots=True, eq=False)
class Gate:
    """How a block turns similarity into gates: gamma and beta, each (G,) float32."""

    gamma: NDArray[np.float32]
    beta: NDArray[np.float32]

    def gates(self, similarity: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give sigmoid(gamma * n + beta) of a similarity n (G, h, w): same shape, float32."""
        logits = self.gamma[:, None, None] * similarity + self.beta[:, None, None]
        inverse: NDArray[np.float32] = 1 + np.exp(-logits.clip(-80, 80))  # exp(89) is infinite
        return np.reciprocal(inverse)


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """What is shown of one block of one image.

    Attributes:
        block: its name.
        kind: what the numbers are.
        groups: the N groups, in the order of the numbers; `mean` where N = 1 is their mean.
        numbers: (N, h, w) float32, C-contiguous.
        form: as it was asked for.
        pictures: N PNG files where pictures were asked for, else none.
    """

    block: str
    kind: MaskKind
    groups: tuple[int, ...] | Literal["mean"]
    numbers: NDArray[np.float32]
    form: MaskFormat = "json"
    pictures: tuple[bytes, ...] = ()


def draw_mask(
    block: str,
    similarity: NDArray[np.float32],
    gate: Gate,
    request: MaskRequest,
    pixels: NDArray[np.uint8],
) -> Mask:
    """Make the mask of one block of one image.

    Its pictures, where they are asked for, are

    - `png`: greyscale, w x h px, on a fixed scale, so that they compare: gates 0 to 1, similarities
      -3 to 3 are black to white;
    - `overlay`: RGB, W x H px: a heat map over the pixels, each stretched over its own range.

    Args:
        block: its name.
        similarity: (G, h, w) float32, the block's for this image.
        gate: the block's.
        request: which groups, in which form; its blocks are not looked at.
        pixels: (3, H, W) uint8, RGB, the image as the model saw it.
    """
    gates = gate.gates(similarity)
    shown = gates if request.kind == "gate" else similarity
    groups: tuple[int, ...] | Literal["mean"] = "mean"
    if isinstance(request.groups, MeanOfGroups):
        numbers = shown.mean(axis=0, keepdims=True)  # (1, h, w)
    else:
        groups = tuple(_choose(request.groups, gates))
        numbers = np.ascontiguousarray(shown[list(groups)])  # (N, h, w)
    pictures = _draw(numbers, request, pixels)
    return Mask(block, request.kind, groups, numbers, request.format, pictures)


def _choose(choice: GroupChoice, gates: NDArray[np.float32]) -> list[int]:
    match choice:
        case ListedGroups(ids):
            return list(ids)
        case WidestGroups(count):
            spread = gates.std(axis=(1, 2), dtype=np.float64)  # exactly 0 where a gate is constant
            return [int(group) for group in np.argsort(-spread, kind="stable")[:count]]
        case _:
            return list(range(len(gates)))


def _draw(
    numbers: NDArray[np.float32], request: MaskRequest, pixels: NDArray[np.uint8]
) -> tuple[bytes, ...]:
    match request.format:
        case "png":
            return tuple(draw_grey(_to_levels(numbers, request.kind)))
        case "overlay":
            return tuple(draw_overlays(numbers, pixels))
        case _:
            return ()


def _to_levels(numbers: NDArray[np.float32], kind: MaskKind) -> NDArray[np.float32]:
    if kind == "gate":
        return numbers
    return numbers / np.float32(2 * _SIMILARITY_SPAN) + np.float32(0.5)
