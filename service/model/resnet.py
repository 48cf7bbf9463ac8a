"""SGE-ResNets: torchvision's residual networks with SGE at the end of every residual branch.

B: batch, K: classes, G: groups.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from torch import Tensor, nn

from service.model.sge import SpatialGroupEnhance
from service.model.torchvision_resnet import BasicBlock, Bottleneck, ResNet

Stem = Literal["imagenet", "small"]

FEATURES = "features"
"""Beside the names of blocks: the output of the last block, whose mean is what is classified."""

STAGE_PLANES = (64, 128, 256, 512)
STAGES = ("layer1", "layer2", "layer3", "layer4")


class SgeBasicBlock(BasicBlock):
    """torchvision's two-convolution block with SGE after the second BatchNorm."""

    sge: SpatialGroupEnhance

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Return the block's output and its similarity (B, G, H, W)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out, similarity = self.sge(self.bn2(self.conv2(out)))
        return self.relu(out + shortcut), similarity


class SgeBottleneck(Bottleneck):
    """torchvision's three-convolution block with SGE after the third BatchNorm."""

    sge: SpatialGroupEnhance

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Return the block's output and its similarity (B, G, H, W)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out, similarity = self.sge(self.bn3(self.conv3(out)))
        return self.relu(out + shortcut), similarity


class Depth(NamedTuple):
    """What makes a depth: its block and how many of them each stage holds."""

    block: type[SgeBasicBlock | SgeBottleneck]
    plain_block: type[BasicBlock | Bottleneck]
    repeats: tuple[int, int, int, int]


ARCHITECTURES = {
    "sge_resnet18": Depth(SgeBasicBlock, BasicBlock, (2, 2, 2, 2)),
    "sge_resnet34": Depth(SgeBasicBlock, BasicBlock, (3, 4, 6, 3)),
    "sge_resnet50": Depth(SgeBottleneck, Bottleneck, (3, 4, 6, 3)),
    "sge_resnet101": Depth(SgeBottleneck, Bottleneck, (3, 4, 23, 3)),
    "sge_resnet152": Depth(SgeBottleneck, Bottleneck, (3, 8, 36, 3)),
}


@dataclass(frozen=True, slots=True)
class BlockShape:
    """What one block's mask looks like: `groups` pictures of `height` by `width` gates."""

    name: str
    groups: int
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class ResNetSpec:
    """Everything that decides a network's shapes.

    Attributes:
        architecture: a key of `ARCHITECTURES`.
        classes: K, the length of the logits.
        groups: G of every SGE module.
        initial_bias: beta before training; a checkpoint overwrites it.
        input_px: side of the square input.
        stem: `imagenet` (7x7 convolution of stride 2, then max pooling) or `small` (3x3
            convolution of stride 2, no pooling), for inputs of about 64 px.
    """

    architecture: str
    classes: int = 1000
    groups: int = 64
    initial_bias: float = field(default=1.0, compare=False)
    input_px: int = 224
    stem: Stem = "imagenet"

    def check(self) -> None:
        """Refuse a network that cannot run.

        Raises:
            ValueError: the architecture is unknown, the groups do not divide the channels of a
                stage, or the input ends in a 1x1 map, which has no standard deviation.
        """
        if self.architecture not in ARCHITECTURES:
            known = ", ".join(ARCHITECTURES)
            raise ValueError(f"unknown architecture {self.architecture!r}, known are: {known}")
        if self.classes < 1:
            raise ValueError(f"{self.classes} classes, at least 1 is needed")
        for channels in (planes * self.depth.block.expansion for planes in STAGE_PLANES):
            if self.groups < 1 or channels % self.groups:
                raise ValueError(f"{self.groups} groups do not divide {channels} channels")
        if self.stage_sides()[-1] < 2:
            smallest = 33 if self.stem == "imagenet" else 17
            raise ValueError(
                f"an input of {self.input_px} px ends in a 1x1 map, which SGE cannot normalise; "
                f"the {self.stem} stem needs at least {smallest} px"
            )

    @property
    def depth(self) -> Depth:
        """The block and the repeats behind the architecture's name."""
        return ARCHITECTURES[self.architecture]

    def stage_sides(self) -> list[int]:
        """Side in positions of the maps of stage 1 to 4 (every halving rounds up)."""
        halvings = 2 if self.stem == "imagenet" else 1
        return [-(-self.input_px // 2 ** (halvings + stage)) for stage in range(len(STAGES))]

    @property
    def largest_map_values(self) -> int:
        """Numbers in the largest map of one image: after the stem, or of the first stage."""
        stem_side, stage_side = -(-self.input_px // 2), self.stage_sides()[0]
        expansion = self.depth.block.expansion
        return STAGE_PLANES[0] * max(stem_side**2, expansion * stage_side**2)

    @property
    def features_shape(self) -> tuple[int, int, int, int]:
        """The shape of one image's features: (G, C/G, h, w)."""
        channels, side = STAGE_PLANES[-1] * self.depth.block.expansion, self.stage_sides()[-1]
        return self.groups, channels // self.groups, side, side

    def blocks(self) -> list[BlockShape]:
        """The blocks in the network's order, with the size of their masks."""
        return [
            BlockShape(f"{stage}.{index}", self.groups, side, side)
            for stage, repeats, side in zip(
                STAGES, self.depth.repeats, self.stage_sides(), strict=True
            )
            for index in range(repeats)
        ]


class Outputs(NamedTuple):
    """What one forward pass gives.

    Attributes:
        logits: (B, K).
        similarities: per named block (B, G, h, w) float32.
        features: (B, G, C/G, h, w), the last block's output in its groups, where it was asked for.
    """

    logits: Tensor
    similarities: dict[str, Tensor]
    features: Tensor | None = None


class SgeResNet(ResNet):
    """A torchvision ResNet whose residual branches end in SGE.

    Parameter names are torchvision's plus `<block>.sge.weight` and `<block>.sge.bias`.

    Raises:
        ValueError: see `ResNetSpec.check`.
    """

    def __init__(self, spec: ResNetSpec) -> None:
        spec.check()
        super().__init__(spec.depth.block, list(spec.depth.repeats), num_classes=spec.classes)
        for planes, stage in zip(STAGE_PLANES, STAGES, strict=True):
            for block in self.get_submodule(stage).children():
                channels = planes * spec.depth.block.expansion
                block.sge = SpatialGroupEnhance(channels, spec.groups, spec.initial_bias)
        if spec.stem == "small":
            use_small_stem(self)
        self.spec = spec

    def forward(  # type: ignore[override]
        self, x: Tensor, extras: Collection[str] = ()
    ) -> Outputs:
        """Classify a batch and keep what is asked for on the way.

        Args:
            x: (B, 3, H, W), normalised, the dtype of the weights.
            extras: names of blocks, such as `layer4.1`, and `FEATURES`.

        Returns:
            Logits and, for each named block in the network's order, its similarity.
        """
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        similarities = {}
        for name, block in self.named_blocks():
            x, similarity = block(x)
            if name in extras:
                similarities[name] = similarity
        mean = x.mean(dim=(2, 3), dtype=self.fc.weight.dtype)  # (B, C)
        logits = self.fc(mean)  # (B, K)
        features = (
            x.view(len(x), self.spec.groups, -1, *x.shape[2:]) if FEATURES in extras else None
        )
        return Outputs(logits, similarities, features)

    def named_blocks(self) -> Iterator[tuple[str, SgeBasicBlock | SgeBottleneck]]:
        """The residual blocks with their names, in the order of the forward pass."""
        for stage in STAGES:
            for index, block in enumerate(self.get_submodule(stage).children()):
                yield f"{stage}.{index}", block  # type: ignore[misc]  # of a Sequential

    def sge_of(self, name: str) -> SpatialGroupEnhance:
        """The SGE module of a block; it turns that block's similarity into gates."""
        return self.get_submodule(f"{name}.sge")  # type: ignore[return-value]


def plain_resnet(spec: ResNetSpec) -> ResNet:
    """The same network without SGE: torchvision's own, with the stem of `spec`."""
    network = ResNet(spec.depth.plain_block, list(spec.depth.repeats), num_classes=spec.classes)
    if spec.stem == "small":
        use_small_stem(network)
    return network


def use_small_stem(network: ResNet) -> None:
    """Replace the stem by one for small inputs: a 3x3 convolution of stride 2, no pooling."""
    network.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=2, padding=1, bias=False)
    nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    network.maxpool = nn.Identity()  # type: ignore[assignment]
