"""A fused network in the form that the kernels compute: maps are (B, H, W, C) throughout.

B: batch, H and W: height and width, C: channels, G: groups, K: classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from service.engines.aoti.kernels.operators import NEVER, compare, convolve
from service.engines.aoti.kernels.weights import pack, pack_for_winograd
from service.model.fuse import (
    FusedBlock,
    FusedResNet,
    InterleavedEnhance,
    mean_of_branch,
)
from service.model.raw_outputs import RawOutputs, RawSimilarity


@dataclass(frozen=True, slots=True)
class Choice:
    """How a convolution is computed.

    Attributes:
        panel: output channels that the kernels sum at a time; None leaves it to oneDNN.
        winograd_from: the smallest batch that goes by Winograd; `NEVER` where none does.
    """

    panel: int | None = None
    winograd_from: int = NEVER


ONEDNN = Choice()

Choose = Callable[[nn.Conv2d], Choice]


class OneDnnConvolution(nn.Module):
    """A convolution by torch.

    Args:
        convolution: with a bias.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(
        self, maps: Tensor, *, relu: bool = False, shortcut: Tensor | None = None
    ) -> Tensor:
        """Convolve (B, H, W, C), add the shortcut, cut off below 0."""
        result: Tensor = self.convolution(maps.permute(0, 3, 1, 2))
        # Before the permutation, so that the compiler finds them for oneDNN to do.
        if shortcut is not None:
            result = result + shortcut.permute(0, 3, 1, 2)
        return (result.relu() if relu else result).permute(0, 2, 3, 1)


class KernelConvolution(nn.Module):
    """A convolution by the kernels.

    Args:
        convolution: square, without dilation, with a bias.
        choice: with a panel.
    """

    weights: Tensor
    winograd: Tensor
    bias: Tensor

    def __init__(self, convolution: nn.Conv2d, choice: Choice) -> None:
        super().__init__()
        if choice.panel is None or convolution.bias is None:
            raise ValueError("the kernels need a panel and a bias")
        weight = convolution.weight.detach()
        by_winograd, directly = choice.winograd_from < NEVER, choice.winograd_from > 1
        nothing = torch.empty(0)
        self.side = convolution.kernel_size[0]
        self.stride = convolution.stride[0]
        self.padding = int(convolution.padding[0])
        self.winograd_from = choice.winograd_from
        self.register_buffer("weights", pack(weight, choice.panel) if directly else nothing)
        self.register_buffer(
            "winograd", pack_for_winograd(weight, choice.panel) if by_winograd else nothing
        )
        self.register_buffer("bias", convolution.bias.detach())

    def forward(
        self,
        maps: Tensor,
        *,
        relu: bool = False,
        shortcut: Tensor | None = None,
        gates: Tensor | None = None,
    ) -> Tensor:
        """Convolve (B, H, W, C), multiply by the gates, add the shortcut, cut off below 0."""
        result: Tensor = convolve(
            maps,
            self.weights,
            self.winograd,
            self.bias,
            self.side,
            self.stride,
            self.padding,
            self.winograd_from,
            relu,
            gates,
            shortcut,
        )
        return result

    def compare(self, maps: Tensor, groups: int) -> Tensor:
        """Raw similarities (B, H, W, G) of what this 1x1 convolution will make of the maps."""
        values: Tensor = compare(maps, self.weights, self.bias, groups)
        return values


Convolution = OneDnnConvolution | KernelConvolution


def chosen(convolution: nn.Conv2d, choose: Choose) -> Convolution:
    """A convolution as it is chosen to be computed."""
    choice = choose(convolution)
    if choice.panel is None:
        return OneDnnConvolution(convolution)
    return KernelConvolution(convolution, choice)


class KernelBlock(nn.Module):
    """A residual block: two or three convolutions, SGE, the shortcut.

    Args:
        inner: all convolutions of the branch but the last.
        last: whose output SGE enhances.
        shortcut: the projection beside them; None where the input is added as it is.
        enhance: SGE; None in a network without.
    """

    def __init__(
        self,
        inner: list[Convolution],
        last: Convolution,
        shortcut: Convolution | None,
        enhance: InterleavedEnhance | None,
    ) -> None:
        super().__init__()
        self.inner = nn.ModuleList(inner)
        self.last = last
        self.shortcut = shortcut
        self.enhance = enhance

    def forward(self, maps: Tensor) -> tuple[Tensor, RawSimilarity | None]:
        """Return the block's output (B, H, W, C) and its raw similarity."""
        shortcut = maps if self.shortcut is None else self.shortcut(maps)
        for convolution in self.inner:
            maps = convolution(maps, relu=True)
        if self.enhance is None:
            return self.last(maps, relu=True, shortcut=shortcut), None
        if isinstance(self.last, KernelConvolution) and self.last.side == 1:
            # The gates follow from the input, so that what they multiply is written once.
            gates, raw = self.enhance.gates(self.last.compare(maps, self.enhance.groups))
            return self.last(maps, relu=True, shortcut=shortcut, gates=gates), raw
        branch = self.last(maps).permute(0, 3, 1, 2)
        if isinstance(self.last, OneDnnConvolution):
            mean = mean_of_branch(self.last.convolution, maps.permute(0, 3, 1, 2), branch)
        else:
            mean = branch.mean(dim=(2, 3))
        enhanced, raw = self.enhance(branch, mean)
        return F.relu(enhanced.permute(0, 2, 3, 1) + shortcut), raw


class KernelResNet(nn.Module):
    """A network whose convolutions are the kernels', where they were chosen.

    Args:
        stem: the first convolution.
        pool: what follows it.
        blocks: all of them with SGE, or none.
        fc: the classifier.
    """

    def __init__(
        self, stem: Convolution, pool: nn.Module, blocks: list[KernelBlock], fc: nn.Linear
    ) -> None:
        super().__init__()
        self.stem = stem
        self.pool = pool
        self.blocks = nn.ModuleList(blocks)
        self.fc = fc

    def classify(self, x: Tensor) -> RawOutputs:
        """Classify (B, 3, H, W), channels last."""
        maps = self.stem(x.permute(0, 2, 3, 1), relu=True)
        maps = self.pool(maps.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        raw_similarities = []
        for block in self.blocks:
            maps, raw = block(maps)
            if raw is not None:
                raw_similarities.append(raw)
        return RawOutputs(self.fc(maps.mean(dim=(1, 2))), maps, raw_similarities)


def with_kernels(network: FusedResNet, choose: Choose) -> KernelResNet:
    """The same function, float32, in the form for the kernels."""
    stem, _, pool = network.stem
    return KernelResNet(
        chosen(stem, choose),  # type: ignore[arg-type]  # of a Sequential
        pool,
        [_block(block, choose) for block in network.blocks],  # type: ignore[arg-type]
        network.fc,
    )


def _block(block: FusedBlock, choose: Choose) -> KernelBlock:
    shortcut = None if block.shortcut is None else chosen(block.shortcut, choose)
    inner = [chosen(convolution, choose) for convolution in block.inner]  # type: ignore[arg-type]
    return KernelBlock(inner, chosen(block.last, choose), shortcut, block.enhance)
