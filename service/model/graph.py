"""The graph that every engine runs: pixels in; logits and similarity out.

B: batch, K: classes, C: channels of the last block, G: groups.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from service.model.fuse import FusedResNet
from service.model.resnet import Outputs, SgeResNet


class InferenceGraph(nn.Module):
    """Normalises pixels and runs a network, in inference only.

    Args:
        network: float32: what `fuse` made of a reference network, or such a network itself. It is
            taken over: cast, laid out for speed and frozen.
        mean: per channel, of values in [0, 1].
        std: per channel.
        dtype: of convolutions and activations; BatchNorm's statistics and SGE's numbers stay
            float32, as do the normalisation of pixels and of similarities, and the classifier:
            one small product, whose result features then explain in every precision.
    """

    shift: Tensor
    scale: Tensor

    def __init__(
        self,
        network: FusedResNet | SgeResNet,
        mean: Sequence[float],
        std: Sequence[float],
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)
        for module in self.network.modules():
            if isinstance(module, nn.Conv2d):
                module.to(dtype)
        self.dtype = dtype
        self.register_buffer("shift", 255 * torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("scale", 1 / (255 * torch.tensor(std).view(1, 3, 1, 1)))
        self.eval().requires_grad_(requires_grad=False)

    def forward(self, pixels: Tensor, extras: Collection[str] = ()) -> Outputs:
        """Classify a batch.

        Args:
            pixels: (B, 3, h, w), RGB, 0 to 255 in any dtype.
            extras: names of the blocks whose similarity is returned, and `FEATURES`.

        Returns:
            Logits (B, K) float32, per named block similarity (B, G, h, w) float32, and features
            (B, G, C/G, h, w) float32 where they were asked for.
        """
        logits, similarities, features = self.network(self.normalised(pixels), extras)
        return Outputs(logits.float(), similarities, None if features is None else features.float())

    def normalised(self, pixels: Tensor) -> Tensor:
        """Pixels (B, 3, h, w), 0 to 255 -> what the network takes, channels last."""
        x = ((pixels.float() - self.shift) * self.scale).to(self.dtype)
        return x.contiguous(memory_format=torch.channels_last)
