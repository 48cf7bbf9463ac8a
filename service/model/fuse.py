"""The inference form of an SGE-ResNet: the same function, rewritten so that SGE costs little.

Three rewrites of the weights, once, when a model is loaded:

- every BatchNorm is folded into the convolution before it;
- the channels of each stage are interleaved by group: the old channel g * (C/G) + j becomes
  j * G + g. In channels-last memory the G values of one position then lie side by side, and every
  step of SGE is a contiguous vector operation over them;
- a group's descriptor is the mean of the branch's last convolution, so where that is 1x1 it follows
  from the mean of the convolution's input, which has a quarter of the channels:
  mean(W h + b) = W mean(h) + b.

B: batch, C: channels of a stage, G: groups, J: channels of a group (C/G), N: positions (H * W).
"""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from service.model.raw_outputs import RawOutputs, RawSimilarity, in_groups
from service.model.resnet import (
    FEATURES,
    Outputs,
    ResNetSpec,
    SgeBasicBlock,
    SgeBottleneck,
    SgeResNet,
)
from service.model.sge import EPSILON, SpatialGroupEnhance


class InterleavedEnhance(nn.Module):
    """SGE on channels interleaved by group, the descriptor given.

    Args:
        sge: the module it takes gamma and beta from.
    """

    gamma: Tensor
    beta: Tensor

    def __init__(self, sge: SpatialGroupEnhance) -> None:
        super().__init__()
        self.groups = sge.groups
        self.register_buffer("gamma", sge.weight.detach().clone().float().flatten())  # (G,)
        self.register_buffer("beta", sge.bias.detach().clone().float().flatten())  # (G,)

    def forward(self, x: Tensor, descriptor: Tensor) -> tuple[Tensor, RawSimilarity]:
        """Enhance a feature map.

        The mean of the raw similarities is the descriptor's squared length, so they are taken as
        differences from it: their variance then needs one pass and cancels no digits.

        Args:
            x: (B, C, H, W), channels last and interleaved.
            descriptor: (B, C), the mean of `x` over its positions, interleaved.

        Returns:
            The enhanced map, shaped and typed as `x`, and the raw similarity of its positions.
        """
        batch, channels, height, width = x.shape
        grouped = x.permute(0, 2, 3, 1).reshape(
            batch, height, width, -1, self.groups
        )  # (B, H, W, J, G)
        descriptor = descriptor.view(batch, 1, 1, -1, self.groups)  # (B, 1, 1, J, G)
        length = descriptor.float().square().sum(dim=3)  # (B, 1, 1, G)
        products = grouped.float() * descriptor.float()  # float16 overflows, bfloat16 rounds them
        values = products.sum(dim=3) - length  # (B, H, W, G)
        gates, raw_similarity = self.gates(values)
        gates = gates.to(x.dtype).unsqueeze(3)
        enhanced = (grouped * gates).view(batch, height, width, channels)
        return enhanced.permute(0, 3, 1, 2), raw_similarity

    def gates(self, values: Tensor) -> tuple[Tensor, RawSimilarity]:
        """Turn raw similarities into gates.

        Args:
            values: (B, H, W, G) float32; their mean over positions is about 0.

        Returns:
            Gates (B, H, W, G) float32, and the values with what normalises them.
        """
        mean = values.mean(dim=(1, 2), keepdim=True)
        variance = (values.square().mean(dim=(1, 2), keepdim=True) - mean.square()).clamp(min=0)
        positions = values.shape[1] * values.shape[2]
        deviation = (variance * (positions / (positions - 1))).sqrt()
        scale = 1 / (deviation + EPSILON)
        raw_similarity = RawSimilarity(values, scale, -mean * scale)
        similarity = values * scale + raw_similarity.shift
        return torch.sigmoid(similarity * self.gamma + self.beta), raw_similarity


@runtime_checkable
class Classifier(Protocol):
    """A fused network, in whatever form it is computed."""

    def classify(self, x: Tensor) -> RawOutputs:
        """Classify (B, 3, H, W)."""


class FusedBlock(nn.Module):
    """A residual block without BatchNorm: two or three convolutions, SGE, the shortcut.

    Args:
        inner: the convolutions but for the last, each followed by a ReLU.
        last: the one whose output SGE enhances.
        shortcut: the projection beside them; None where the input is added as it is.
        sge: gamma and beta.
    """

    def __init__(
        self,
        inner: list[nn.Conv2d],
        last: nn.Conv2d,
        shortcut: nn.Conv2d | None,
        sge: SpatialGroupEnhance,
    ) -> None:
        super().__init__()
        self.inner = nn.ModuleList(inner)
        self.last = last
        self.shortcut = shortcut
        self.enhance = InterleavedEnhance(sge)

    def forward(self, x: Tensor) -> tuple[Tensor, RawSimilarity]:
        """Return the block's output (B, C, H, W) and its raw similarity."""
        shortcut = x if self.shortcut is None else self.shortcut(x)
        for convolution in self.inner:
            x = F.relu(convolution(x))
        branch = self.last(x)
        enhanced, raw_similarity = self.enhance(branch, mean_of_branch(self.last, x, branch))
        return F.relu(enhanced + shortcut), raw_similarity


def mean_of_branch(last: nn.Conv2d, hidden: Tensor, branch: Tensor) -> Tensor:
    """The mean of a branch over its positions, by the cheaper way.

    Args:
        last: the convolution that wrote it.
        hidden: (B, C', h, w), what that read.
        branch: (B, C, H, W).

    Returns:
        (B, C), typed as `branch`.
    """
    if last.kernel_size != (1, 1):
        return branch.float().mean(dim=(2, 3)).to(branch.dtype)
    mean = hidden.float().mean(dim=(2, 3)).to(hidden.dtype)
    return F.linear(mean, last.weight.flatten(1), last.bias)


class FusedResNet(nn.Module):
    """What `fuse` makes: takes and returns what the reference network does."""

    def __init__(
        self,
        spec: ResNetSpec,
        stem: nn.Sequential,
        blocks: dict[str, FusedBlock],
        fc: nn.Linear,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.stem = stem
        self.names = list(blocks)
        self.blocks = nn.ModuleList(blocks.values())
        self.fc = fc

    def forward(self, x: Tensor, extras: Collection[str] = ()) -> Outputs:
        """Classify a batch and keep what is asked for.

        Args:
            x: (B, 3, H, W), normalised, channels last, the dtype of the convolutions.
            extras: names of blocks, such as `layer4.1`, and `FEATURES`.

        Returns:
            Logits (B, K) and, per named block, similarity (B, G, h, w) float32.
        """
        logits, features, raw_similarities = self.classify(x)
        named = zip(self.names, raw_similarities, strict=True)
        return Outputs(
            logits,
            {name: raw.similarity() for name, raw in named if name in extras},
            in_groups(features, self.spec.groups) if FEATURES in extras else None,
        )

    def classify(self, x: Tensor) -> RawOutputs:
        """Classify (B, 3, H, W)."""
        x = self.stem(x)
        raw_similarities = []
        for block in self.blocks:
            x, raw_similarity = block(x)
            raw_similarities.append(raw_similarity)
        logits = self.fc(x.float().mean(dim=(2, 3)))
        return RawOutputs(logits, x.permute(0, 2, 3, 1), raw_similarities)


def fuse(network: SgeResNet) -> FusedResNet:
    """Rewrite a network for inference; the function stays the same up to rounding.

    Args:
        network: the reference; it is not changed.

    Returns:
        A network of its own in float32, evaluation mode and channels-last memory.
    """
    groups = network.spec.groups
    channels = network.conv1.out_channels
    adds_stem = network.get_submodule("layer1.0").downsample is None  # to channels of stage 1
    order = _interleaved(channels, groups) if adds_stem else torch.arange(channels)
    pooling = copy.deepcopy(network.maxpool)
    stem = nn.Sequential(_fused(network.conv1, network.bn1, outputs=order), nn.ReLU(), pooling)
    blocks = {}
    for name, block in network.named_blocks():
        stage_order = _interleaved(block.sge.channels, groups)
        blocks[name] = _fused_block(block, order, stage_order)
        order = stage_order
    fc = copy.deepcopy(network.fc)
    fc.weight.data = fc.weight.data[:, order]
    fused = FusedResNet(network.spec, stem, blocks, fc)
    fused = fused.float().to(memory_format=torch.channels_last)
    return fused.eval().requires_grad_(requires_grad=False)


def _fused_block(
    block: SgeBasicBlock | SgeBottleneck, inputs: Tensor, outputs: Tensor
) -> FusedBlock:
    """Fold and reorder one block; `inputs` and `outputs` are the orders of its channels."""
    layers = [(block.conv1, block.bn1), (block.conv2, block.bn2)]
    if isinstance(block, SgeBottleneck):
        layers.append((block.conv3, block.bn3))
    first, *middle, last = layers
    inner = [_fused(*first, inputs=inputs), *(_fused(*layer) for layer in middle)]
    shortcut = None
    if block.downsample is not None:
        convolution, norm = block.downsample.children()
        shortcut = _fused(convolution, norm, inputs=inputs, outputs=outputs)  # type: ignore[arg-type]
    return FusedBlock(inner, _fused(*last, outputs=outputs), shortcut, block.sge)


def _fused(
    convolution: nn.Conv2d,
    norm: nn.Module,
    *,
    inputs: Tensor | None = None,
    outputs: Tensor | None = None,
) -> nn.Conv2d:
    """Fold a BatchNorm into its convolution, and put the channels in the given orders.

    Computed in float64; a layer at a time, so that a network is never in memory in float64.
    """
    exact: nn.Conv2d = fuse_conv_bn_eval(_exact(convolution), _exact(norm))
    fused = exact.float()
    if inputs is not None:
        fused.weight.data = fused.weight.data[:, inputs]
    if outputs is not None and fused.bias is not None:
        fused.weight.data = fused.weight.data[outputs]
        fused.bias.data = fused.bias.data[outputs]
    return fused


def _exact(layer: Any) -> Any:
    """A copy in float64, for evaluation."""
    return copy.deepcopy(layer).double().eval()


def _interleaved(channels: int, groups: int) -> Tensor:
    """Where each channel of the interleaved order stands in the network's own: (C,) int64."""
    return torch.arange(channels).view(groups, -1).t().flatten()
