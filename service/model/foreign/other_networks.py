"""Which network it seems to be that is none of ours, by names and shapes that only it has."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

# What a network is called, and a pattern that some name of its weights has. The first one wins.
_BY_NAME = (
    ("a detector", r"(^|\.)(rpn|roi_heads|class_embed|bbox_embed|bbox_head|fpn|dfl)\."),
    ("a network for segmentation", r"(^|\.)(aux_classifier|decode_head|mask_decoder)\."),
    ("CLIP", r"(^|\.)(transformer\.resblocks\.\d|text_model\.|logit_scale$)"),
    ("a Swin transformer", r"relative_position_bias_table$"),
    ("a vision transformer", r"(^|\.)(patch_embed\.|(cls_token|class_token|pos_embed\w*)$)"),
    (
        "a ConvNeXt",
        r"(^|\.)(layer_scale$|(stages|layers)\.\d\.(blocks|layers)\.\d+\.(conv_)?dw|layer\d\.\d+\.dwconv)",
    ),
    ("a DenseNet", r"(^|\.)denseblock1\.|(^|\.)dense_stage"),
    ("a SqueezeNet", r"\.(squeeze|expand1x1)\.weight$"),
    ("an Inception network", r"(^|\.)(Mixed_5b|inception3a)\."),
    ("a RegNet", r"(^|\.)(trunk_output\.block1|s1\.b1\.conv1)\b"),
    ("a ShuffleNet", r"(^|\.)stage2\.0\.branch2\."),
    ("a YOLO", r"(^|\.)model\.\d+\.(cv1|m\.0|conv)\."),
    (
        "an EfficientNet",
        r"(^|\.)(_blocks\.\d+\._|features\.\d\.\d\.block\.|blocks\.\d\.\d\.conv_pw)",
    ),
    ("a MobileNet", r"(^|\.)features\.\d+\.(conv|block)\.\d+\.\d+\.weight$"),
    ("an MNASNet", r"(^|\.)layers\.8\.0\.layers\."),
    ("an AlexNet or a VGG", r"(^|\.)features\.0\.weight$"),
    ("an HRNet", r"(^|\.)(transition1|stage2\.0\.fuse_layers)\."),
    ("a Res2Net", r"layer1\.0\.convs\.\d"),
    ("a ResNeSt", r"layer1\.0\.conv2\.(conv|fc1)\."),
    ("a ResNet with CBAM", r"layer\d\.\d+\.(cbam|ca|sa|ChannelGate|channel_attention)\b"),
    ("a ResNet with ECA", r"layer\d\.\d+\.(eca|se\.conv\.weight|eca_layer)"),
    ("a ResNet with SE", r"layer\d\.\d+\.(se|se_module|se_block|se_layer|senet)\."),
    ("a ResNet with other attention", r"layer\d\.\d+\.(bam|sk|gc|attn|att|non_local|coordatt)\b"),
    ("a ResNet with IBN", r"layer\d\.\d+\.bn1\.(IN|BN)\."),
    ("a ResNet with blurred strides", r"layer\d\.\d+\.(conv\d\.\d\.filt|aa\.filt)"),
    ("a ResNet-D or another one with a deep stem", r"^conv1\.\d\.weight$"),
    ("a ResNet for small pictures, with a stem of stride 1", r"layer2\.0\.shortcut\.0\.weight$"),
    ("a ResNet v2 (pre-activation)", r"stages\.\d\.blocks\.\d+\.norm1\."),
)
_PIXEL_CLASSES = re.compile(r"(^|\.)(classifier|head)\.\d+\.weight$")  # a convolution there


def name_network(weights: Mapping[str, Tensor]) -> str | None:
    """Say what network weights seem to be of, as `a DenseNet`; None where nothing tells.

    Args:
        weights: by their names, without a prefix where there was one for all.
    """
    for network, pattern in _BY_NAME:
        if any(re.search(pattern, name) for name in weights):
            return network
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    if any(len(shape) == 4 and _PIXEL_CLASSES.search(name) for name, shape in shapes.items()):
        return "a network for segmentation"
    return _by_shapes(shapes)


def _by_shapes(shapes: dict[str, tuple[int, ...]]) -> str | None:
    """Members of the residual family that differ from ours in shapes alone."""
    depth = "50" if "layer3.5.conv1.weight" in shapes else ""
    depth = "101" if "layer3.22.conv1.weight" in shapes else depth
    middle = shapes.get("layer1.0.conv2.weight", ())
    first = shapes.get("layer1.0.conv1.weight", ())
    if "layer1.0.conv3.weight" in shapes and len(middle) == len(first) == 4:
        if middle[0] != middle[1]:
            return f"a ResNeXt{depth and '-'}{depth} ({middle[0] // middle[1]}x{middle[1]}d)"
        if middle[0] > 64:
            return f"a wide ResNet{depth and '-'}{depth} ({middle[0] / 64:g} times as wide)"
    if first[:1] not in ((), (64,)):
        return f"a ResNet of {first[0]} channels in its first stage, where ours have 64"
    if len(shapes.get("layer2.0.downsample.1.weight", ())) == 4:
        return "a ResNet-D, which pools in its shortcuts"
    if "bn1.weight" in shapes and not any(name.endswith("running_mean") for name in shapes):
        return "a ResNet whose norms have no statistics, as those of GroupNorm"
    return None
