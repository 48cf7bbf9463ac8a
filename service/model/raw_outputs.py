"""What a fused network gives, before anybody has asked for anything of it.

B: batch, K: classes, C: channels of the last block, G: groups, h, w, H and W: height and width.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class RawSimilarity(NamedTuple):
    """The similarity of each position of a block to its groups' descriptors, not normalised yet.

    The gates need these numbers anyway, so that a network which returns them for every block does
    no more work than one which returns none.

    Attributes:
        values: (B, H, W, G) float32.
        scale: (B, 1, 1, G) float32.
        shift: (B, 1, 1, G) float32.
    """

    values: Tensor
    scale: Tensor
    shift: Tensor

    def similarity(self) -> Tensor:
        """Normalise: (B, G, H, W) float32, the n of the paper."""
        return (self.values * self.scale + self.shift).permute(0, 3, 1, 2)


class RawOutputs(NamedTuple):
    """What a fused network gives, whatever is asked for.

    Attributes:
        logits: (B, K).
        features: (B, h, w, C), the last block's output, its channels interleaved.
        raw_similarities: of every block.
    """

    logits: Tensor
    features: Tensor
    raw_similarities: list[RawSimilarity]


def in_groups(features: Tensor, groups: int) -> Tensor:
    """Interleaved features (B, h, w, C) -> a view of them, (B, G, C/G, h, w)."""
    batch, height, width, _ = features.shape
    return features.reshape(batch, height, width, -1, groups).permute(0, 4, 3, 1, 2)
