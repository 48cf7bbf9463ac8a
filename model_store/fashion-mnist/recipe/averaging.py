"""One network from the ends of several cycles: the mean of their weights.

Stochastic weight averaging with a cyclic learning rate (Izmailov et al. 2018, arXiv:1803.05407).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from recipe.network import logits_of


def average(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Average state dicts of one network; numbers that are no fractions are the last one's."""
    *_, last = states
    return {
        name: torch.stack([state[name].double() for state in states]).mean(dim=0).to(value.dtype)
        if value.is_floating_point()
        else value
        for name, value in last.items()
    }


@torch.no_grad()
def renew_statistics(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Measure again what BatchNorm expects of its inputs: that of a mean is no mean.

    Args:
        network: its weights are left as they are.
        batches: frames (B, 3, r, r) in [0, 1]; the statistics are the mean over them.
    """
    normalisations = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [normalisation.momentum for normalisation in normalisations]
    for normalisation in normalisations:
        normalisation.reset_running_stats()
        normalisation.momentum = None  # the plain mean
    network.train()
    for pixels in batches:
        logits_of(network, pixels)
    network.eval()
    for normalisation, momentum in zip(normalisations, momenta, strict=True):
        normalisation.momentum = momentum
