"""Architectures told by names and shapes, ours and those of others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torchvision.models
from torch import Tensor, nn

from service.errors import BadCheckpoint
from service.model.checkpoint import spec_of
from service.model.foreign.other_networks import name_network
from service.model.foreign.recognise import architecture_of, recognise
from service.model.resnet import ARCHITECTURES, ResNetSpec, plain_resnet
from service.model.shapes import shapes_alone
from tests.store_fixtures import TINY


def torchvisions(name: str) -> dict[str, Tensor]:
    """Names and shapes of one of torchvision's networks."""
    with torch.device("meta"):
        return dict(getattr(torchvision.models, name)(weights=None).state_dict())


def changed(**shapes: tuple[int, ...]) -> dict[str, Tensor]:
    """A ResNet-50 with further or other tensors; `__` stands for a dot."""
    with torch.device("meta"):
        state = dict(plain_resnet(ResNetSpec("sge_resnet50")).state_dict())
        return state | {n.replace("__", "."): torch.empty(shape) for n, shape in shapes.items()}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("has_sge", [True, False])
def test_every_architecture_is_inferred(architecture: str, *, has_sge: bool) -> None:
    """Depth by the blocks, stem, classes and groups by the shapes, SGE by its names."""
    spec = ResNetSpec(architecture, classes=7, groups=16, input_px=64)
    state = dict(shapes_alone(spec).state_dict())
    weights = {name: value for name, value in state.items() if has_sge or ".sge." not in name}

    found = recognise(weights, "net.pth").architecture

    expected = spec if has_sge else replace(spec, groups=64)
    assert spec_of(weights, found, input_px=64) == expected


def test_a_small_stem_is_inferred() -> None:
    """By its convolution of 3x3."""
    assert spec_of(dict(shapes_alone(TINY).state_dict()), "sge_resnet18", input_px=32) == TINY


@pytest.mark.parametrize(
    "alias",
    ["resnet50", "sge_resnet50", "sge-resnet50", "SGE_ResNet50", "ResNet-50", "sge resnet 50"],
)
def test_an_architecture_has_the_names_that_people_type(alias: str) -> None:
    """With SGE's prefix or without, whatever the case and what joins the words."""
    assert architecture_of(alias) == "sge_resnet50"


@pytest.mark.parametrize("name", ["resnet26", "resnet50d", "vgg16", "", "sge_resnet"])
def test_an_unknown_architecture_is_refused_with_those_known(name: str) -> None:
    """One line names all."""
    with pytest.raises(
        BadCheckpoint, match=r"^unknown architecture '.*', known are: sge_resnet18,"
    ):
        architecture_of(name)


@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("resnext50_32x4d", "a ResNeXt-50 (32x4d)"),
        ("resnext101_64x4d", "a ResNeXt-101 (64x4d)"),
        ("wide_resnet50_2", "a wide ResNet-50 (2 times as wide)"),
        ("densenet121", "a DenseNet"),
        ("vgg11", "an AlexNet or a VGG"),
        ("squeezenet1_0", "a SqueezeNet"),
        ("efficientnet_b0", "an EfficientNet"),
        ("mobilenet_v2", "a MobileNet"),
        ("mobilenet_v3_small", "a MobileNet"),
        ("convnext_tiny", "a ConvNeXt"),
        ("vit_b_16", "a vision transformer"),
        ("swin_t", "a Swin transformer"),
        ("shufflenet_v2_x1_0", "a ShuffleNet"),
        ("mnasnet1_0", "an MNASNet"),
    ],
)
def test_torchvisions_other_networks_are_named(name: str, network: str) -> None:
    """Who imports one of them is told which it seems to be."""
    with pytest.raises(BadCheckpoint) as caught:
        recognise(torchvisions(name), "net.pth")

    assert caught.value.message == (
        f"net.pth seems to be {network}; networks that can be served are sge_resnet18, "
        "sge_resnet34, sge_resnet50, sge_resnet101, sge_resnet152, with SGE or without"
    )


@pytest.mark.parametrize(
    ("shapes", "network"),
    [
        ({"layer1__0__se__fc1__weight": (16, 256, 1, 1)}, "a ResNet with SE"),
        ({"layer1__0__se__conv__weight": (1, 1, 3)}, "a ResNet with ECA"),
        ({"layer1__0__ca__fc__0__weight": (16, 256, 1, 1)}, "a ResNet with CBAM"),
        ({"layer1__0__attn__fc__weight": (16, 256, 1, 1)}, "a ResNet with other attention"),
        ({"conv1__0__weight": (32, 3, 3, 3)}, "a ResNet-D or another one with a deep stem"),
        ({"layer2__0__downsample__1__weight": (512, 256, 1, 1)}, "a ResNet-D, which pools in its"),
        ({"layer1__0__convs__0__weight": (26, 26, 3, 3)}, "a Res2Net"),
        ({"layer1__0__conv2__conv__weight": (128, 32, 3, 3)}, "a ResNeSt"),
        ({"layer2__0__shortcut__0__weight": (512, 256, 1, 1)}, "a ResNet for small pictures, with"),
        (
            {"layer1__0__conv1__weight": (16, 16, 1, 1)},
            "a ResNet of 16 channels in its first stage",
        ),
        ({"trunk_output__block1__block1-0__proj__0__weight": (48, 32, 1, 1)}, "a RegNet"),
        ({"Mixed_5b__branch1x1__conv__weight": (64, 192, 1, 1)}, "an Inception network"),
        ({"inception3a__branch1__conv__weight": (64, 192, 1, 1)}, "an Inception network"),
        ({"rpn__head__cls_logits__weight": (3, 256, 1, 1)}, "a detector"),
        ({"patch_embed__proj__weight": (96, 3, 4, 4)}, "a vision transformer"),
        ({"blocks__1__0__conv_pw__weight": (96, 16, 1, 1)}, "an EfficientNet"),
    ],
)
def test_relatives_are_told_from_ours(shapes: dict[str, Any], network: str) -> None:
    """By a name or a shape that no network of ours has."""
    name = name_network(changed(**shapes))

    assert name is not None
    assert name.startswith(network)


def test_norms_without_statistics_are_told() -> None:
    """As those of GroupNorm, which are named as BatchNorm's."""
    state = {name: value for name, value in changed().items() if "running" not in name}

    assert name_network(state) == "a ResNet whose norms have no statistics, as those of GroupNorm"


def test_another_depth_is_told() -> None:
    """By the number that its name would have."""
    with torch.device("meta"):
        network = torchvision.models.resnet.ResNet(
            torchvision.models.resnet.Bottleneck, [2, 2, 2, 2]
        )

    with pytest.raises(BadCheckpoint, match=r"has 2, 2, 2, 2 bottleneck blocks .* a ResNet-26 has"):
        recognise(dict(network.state_dict()), "net.pth")


def test_features_alone_are_refused() -> None:
    """Without a last layer there are no classes."""
    state = {name: value for name, value in changed().items() if not name.startswith("fc.")}

    with pytest.raises(BadCheckpoint, match=r"^net\.pth has no last layer that can be found, fc\."):
        recognise(state, "net.pth")


def test_no_network_of_ours_is_taken_for_anothers() -> None:
    """Neither with SGE nor without it."""
    assert name_network(shapes_alone(ResNetSpec("sge_resnet50")).state_dict()) is None
    assert name_network(changed()) is None
    assert name_network(nn.Linear(2, 2).state_dict()) is None
