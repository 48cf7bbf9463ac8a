"""The network that ships: what it sees and how it is built.

B: batch, r: side of a training frame in pixels.
"""

from __future__ import annotations

from torch import Tensor, nn

from recipe.garments import LABELS
from service.images.contract import InputContract
from service.model.resnet import ResNetSpec

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
    """Run a network that gives `Outputs` on (B, 3, r, r) in [0, 1] and return (B, 10)."""
    logits: Tensor = network((pixels - CONTRACT.mean[0]) / CONTRACT.std[0]).logits
    return logits
