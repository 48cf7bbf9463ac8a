"""The graph every engine runs: uint8 pixels in; logits and similarity out.

B: batch, K: classes, G: groups.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from service.model.resnet import Outputs, SgeResNet


class InferenceGraph(nn.Module):
    """Normalises pixels and runs the network, in inference only.

    Args:
        network: the reference network, float32; it is copied, never changed.
        mean: per channel, of values in [0, 1].
        std: per channel.
        dtype: of convolutions, `fc` and activations; BatchNorm's statistics and SGE's numbers
            stay float32, as does the normalisation of pixels and of similarities.
    """

    shift: Tensor
    scale: Tensor

    def __init__(
        self,
        network: SgeResNet,
        mean: Sequence[float],
        std: Sequence[float],
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).to(memory_format=torch.channels_last)
        for module in self.network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.to(dtype)
        self.dtype = dtype
        self.register_buffer("shift", 255 * torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("scale", 1 / (255 * torch.tensor(std).view(1, 3, 1, 1)))
        self.eval().requires_grad_(requires_grad=False)

    def forward(self, pixels: Tensor, asked: Collection[str] = ()) -> Outputs:
        """Classify a batch.

        Args:
            pixels: (B, 3, h, w) uint8, RGB.
            asked: names of the blocks whose similarity is returned.

        Returns:
            Logits (B, K) float32 and, per asked block, similarity (B, G, h, w) float32.
        """
        x = ((pixels.float() - self.shift) * self.scale).to(self.dtype)
        x = x.contiguous(memory_format=torch.channels_last)
        logits, similarities = self.network(x, asked)
        return Outputs(logits.float(), similarities)
