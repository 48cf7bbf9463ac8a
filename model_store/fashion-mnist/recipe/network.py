"""The network that ships: what it sees, how it is built, and what makes training it faster.

B: batch, r: side of a training frame in pixels.
"""

from __future__ import annotations

import functools

from torch import Tensor, nn

from recipe import winograd
from recipe.garments import LABELS
from service.images.contract import InputContract
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


def hasten(network: nn.Module) -> None:
    """Compile SGE, and convolve the small maps of the last two stages by tiles."""
    for module in network.modules():
        if isinstance(module, SpatialGroupEnhance):
            module.compile()
    for stage in ("layer3", "layer4"):
        for module in network.get_submodule(stage).modules():
            if isinstance(module, nn.Conv2d) and winograd.can_stand_in(module):
                module.forward = functools.partial(  # type: ignore[method-assign]
                    winograd.forward, module
                )
