"""SGE-ResNets: parameter counts, checkpoint names, shapes and what asking for blocks does.

B: batch, G: groups.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.models.resnet import resnet18, resnet34, resnet50, resnet101, resnet152

from service.model.resnet import (
    ARCHITECTURES,
    FEATURES,
    BlockShape,
    ResNetSpec,
    SgeResNet,
    Stem,
    plain_resnet,
)
from tests.store_fixtures import random_input, random_network

TORCHVISIONS = {
    "sge_resnet18": resnet18,
    "sge_resnet34": resnet34,
    "sge_resnet50": resnet50,
    "sge_resnet101": resnet101,
    "sge_resnet152": resnet152,
}
SMALL = ResNetSpec("sge_resnet18", classes=10, groups=8, input_px=48, stem="small")


def without_weights(spec: ResNetSpec) -> SgeResNet:
    """The network on the meta device: every shape, no numbers, no memory."""
    with torch.device("meta"):
        return SgeResNet(spec).eval()


def shapes(tensors: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


# torchvision's network and two numbers for each group of each block.
@pytest.mark.parametrize(
    ("architecture", "parameters"),
    [
        ("sge_resnet18", 11_689_512 + 2 * 64 * 8),
        ("sge_resnet34", 21_797_672 + 2 * 64 * 16),
        ("sge_resnet50", 25_557_032 + 2 * 64 * 16),  # 25.56 M, as published
        ("sge_resnet101", 44_549_160 + 2 * 64 * 33),  # 44.55 M, as published
        ("sge_resnet152", 60_192_808 + 2 * 64 * 50),
    ],
)
def test_parameter_count_is_the_published_one(architecture: str, parameters: int) -> None:
    """SGE adds one gamma and one beta for each group of each block, nothing else."""
    network = without_weights(ResNetSpec(architecture))

    assert sum(tensor.numel() for tensor in network.parameters()) == parameters


@pytest.mark.parametrize("architecture", TORCHVISIONS)
@pytest.mark.parametrize("groups", [64, 8])
def test_checkpoint_names_are_torchvisions_and_two_per_block(
    architecture: str, groups: int
) -> None:
    """A published checkpoint of either variant loads without renaming."""
    spec = ResNetSpec(architecture, groups=groups)
    with torch.device("meta"):
        plain = TORCHVISIONS[architecture]()

    ours = shapes(without_weights(spec).state_dict())

    added = {
        f"{block.name}.sge.{parameter}": (1, groups, 1, 1)
        for block in spec.blocks()
        for parameter in ("weight", "bias")
    }
    assert ours == shapes(plain.state_dict()) | added


@pytest.mark.parametrize("stem", ["imagenet", "small"])
def test_plain_network_has_the_same_parameters_without_sge(stem: Stem) -> None:
    """The network to compare with differs in SGE alone."""
    spec = ResNetSpec("sge_resnet18", classes=10, groups=8, input_px=64, stem=stem)
    with torch.device("meta"):
        plain = plain_resnet(spec)

    ours = shapes(without_weights(spec).state_dict())

    assert shapes(plain.state_dict()) == {
        name: shape for name, shape in ours.items() if ".sge." not in name
    }


@pytest.mark.parametrize("initial_bias", [1.0, 0.0])
def test_beta_starts_where_the_variant_says(initial_bias: float) -> None:
    """Gamma starts at 0 and beta at the initial bias in every block."""
    spec = ResNetSpec("sge_resnet18", groups=8, initial_bias=initial_bias)

    network = SgeResNet(spec)

    modules = [network.sge_of(block.name) for block in spec.blocks()]
    assert {value for module in modules for value in module.weight.flatten().tolist()} == {0.0}
    assert {value for module in modules for value in module.bias.flatten().tolist()} == {
        initial_bias
    }


@pytest.mark.parametrize(
    ("stem", "input_px"),
    [("imagenet", side) for side in (33, 64, 97, 224, 225)]
    + [("small", side) for side in (17, 28, 56, 65)],
)
@pytest.mark.parametrize("architecture", ["sge_resnet34", "sge_resnet50"])
def test_asked_blocks_come_in_order_and_as_predicted(
    architecture: str, stem: Stem, input_px: int
) -> None:
    """Every block's similarity has the shape that the spec predicts for this input and stem."""
    spec = ResNetSpec(architecture, groups=8, input_px=input_px, stem=stem)
    images = torch.empty((2, 3, input_px, input_px), device="meta")
    blocks = [block.name for block in reversed(spec.blocks())]

    outputs = without_weights(spec)(images, blocks)

    assert list(shapes(outputs.similarities).items()) == [
        (block.name, (2, block.groups, block.height, block.width)) for block in spec.blocks()
    ]


def test_mask_sizes_of_the_published_network_are_known() -> None:
    """At 224 px the last blocks of the four stages have 56, 28, 14 and 7 positions a side."""
    blocks = ResNetSpec("sge_resnet50").blocks()

    assert len(blocks) == 16
    assert [blocks[index] for index in (2, 6, 12, 15)] == [
        BlockShape("layer1.2", 64, 56, 56),
        BlockShape("layer2.3", 64, 28, 28),
        BlockShape("layer3.5", 64, 14, 14),
        BlockShape("layer4.2", 64, 7, 7),
    ]
    assert sum(block.groups * block.height * block.width for block in blocks) == 887_488


def test_only_asked_blocks_are_kept() -> None:
    """Blocks that nobody asked for leave no similarity behind."""
    images = torch.empty((1, 3, 48, 48), device="meta")

    outputs = without_weights(SMALL)(images, {"layer4.1", "layer2.0"})

    assert shapes(outputs.similarities) == {"layer2.0": (1, 8, 12, 12), "layer4.1": (1, 8, 3, 3)}


def test_asking_changes_no_logit(generator: torch.Generator) -> None:
    """The masks leave the very forward pass that gives the logits."""
    network = random_network(SgeResNet, SMALL)
    images = torch.randn((2, 3, 48, 48), generator=generator)

    silent = network(images)
    blocks = network(images, [block.name for block in SMALL.blocks()])

    assert torch.equal(blocks.logits, silent.logits)
    assert silent.similarities == {}


def test_returned_similarities_are_standardised(generator: torch.Generator) -> None:
    """In every block the mean over positions is 0 and the deviation, divided by N - 1, is 1."""
    network = random_network(SgeResNet, SMALL)
    images = torch.randn((2, 3, 48, 48), generator=generator)

    outputs = network(images, [block.name for block in SMALL.blocks()])

    flat = [similarity.flatten(2) for similarity in outputs.similarities.values()]
    means = torch.stack([positions.mean(2) for positions in flat])
    deviations = torch.stack([positions.std(2) for positions in flat])
    # float32 sums of up to 576 positions; the epsilon of SGE takes its share of the deviation.
    torch.testing.assert_close(means, torch.zeros(8, 2, 8), rtol=0, atol=1e-5)
    torch.testing.assert_close(deviations, torch.ones(8, 2, 8), rtol=0, atol=1e-3)


def test_an_image_gets_the_same_answer_alone_and_in_a_batch(generator: torch.Generator) -> None:
    """Neither logits nor similarity depend on the images beside it."""
    network = random_network(SgeResNet, SMALL)
    images = torch.randn((3, 3, 48, 48), generator=generator)

    together = network(images, ["layer4.1"])
    alone = network(images[1:2], ["layer4.1"])

    # Convolutions sum in another order for another batch size; eight blocks add that up.
    torch.testing.assert_close(alone.logits, together.logits[1:2], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        alone.similarities["layer4.1"],
        together.similarities["layer4.1"][1:2],
        rtol=1e-3,
        atol=1e-3,
    )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (ResNetSpec("vgg16"), "unknown architecture 'vgg16', known are: sge_resnet18, "),
        (ResNetSpec("sge_resnet50", classes=0), "0 classes, at least 1 is needed"),
        (ResNetSpec("sge_resnet50", groups=0), "0 groups do not divide 256 channels"),
        (ResNetSpec("sge_resnet50", groups=48), "48 groups do not divide 256 channels"),
        (ResNetSpec("sge_resnet18", groups=128), "128 groups do not divide 64 channels"),
        (
            ResNetSpec("sge_resnet18", input_px=32),
            (
                "an input of 32 px ends in a 1x1 map, which SGE cannot normalise; "
                "the imagenet stem needs at least 33 px"
            ),
        ),
        (
            ResNetSpec("sge_resnet18", input_px=16, stem="small"),
            (
                "an input of 16 px ends in a 1x1 map, which SGE cannot normalise; "
                "the small stem needs at least 17 px"
            ),
        ),
    ],
)
def test_a_network_that_cannot_run_is_refused(spec: ResNetSpec, message: str) -> None:
    """The refusal comes before any weight is made and says what is wrong."""
    with pytest.raises(ValueError, match=f"^{message}"):
        SgeResNet(spec)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_logits_are_the_classifier_of_the_features_mean(architecture: str) -> None:
    """Of every architecture: what an attribution rests on."""
    spec = ResNetSpec(architecture, classes=3, groups=8, input_px=33)
    network = random_network(SgeResNet, spec)

    with torch.inference_mode():
        outputs = network(random_input(33), {FEATURES})

    assert outputs.features is not None
    assert outputs.features.shape == (2, *spec.features_shape)
    logits = network.fc(outputs.features.mean(dim=(3, 4)).flatten(1))
    torch.testing.assert_close(logits, outputs.logits)
