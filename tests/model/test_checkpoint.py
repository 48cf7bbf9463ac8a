"""Published weights: what is worked out from them, what is inserted, what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from service.errors import BadCheckpoint
from service.model.checkpoint import (
    Adopted,
    adopt_weights,
    build_network,
    has_sge,
    insert_sge,
    spec_of,
)
from service.model.resnet import ResNetSpec, SgeResNet, plain_resnet
from service.model.weights_file import decode_weights
from tests.store_fixtures import (
    TINY,
    pickled,
    random_input,
    random_network,
    tiny_network,
    tiny_plain_weights,
    tiny_weights,
)


def adopt(
    weights: dict[str, Tensor],
    architecture: str = "sge_resnet18",
    *,
    groups: int | None = None,
    input_px: int = 32,
) -> Adopted:
    """What is made of weights that were compared with the network's."""
    spec = spec_of(weights, architecture, groups=groups, input_px=input_px)
    build_network(spec, weights if has_sge(weights) else insert_sge(weights, spec))
    return adopt_weights(weights, spec)


def adopt_tiny(weights: dict[str, Tensor], groups: int | None = None) -> SgeResNet:
    """The network made from the weights of an SGE-ResNet-18 or ResNet-18."""
    return adopt(weights, groups=groups).network


def message_of(weights: dict[str, Tensor]) -> str:
    """Why the weights are refused."""
    with pytest.raises(BadCheckpoint) as caught:
        adopt_tiny(weights)
    return caught.value.message


@pytest.mark.parametrize(("groups", "bias"), [(64, 1.0), (8, 0.0)])
def test_both_published_variants_are_recognised(groups: int, bias: float) -> None:
    """64 groups with beta 1 and 8 groups with beta 0 load, and keep their function."""
    published = random_network(SgeResNet, replace(TINY, groups=groups))
    published.sge_of("layer4.1").weight.fill_(0.0)  # as before training
    published.sge_of("layer4.1").bias.fill_(bias)

    adopted = adopt(dict(published.state_dict()), "sge_resnet18", input_px=32)

    pixels = random_input(32)
    assert adopted.network.spec == replace(TINY, groups=groups)
    assert not adopted.sge_inserted
    assert torch.equal(adopted.network(pixels).logits, published(pixels).logits)


@pytest.mark.parametrize(("stem", "side_px"), [("imagenet", 64), ("small", 32)])
@pytest.mark.parametrize("classes", [1, 7])
def test_stem_and_classes_follow_from_the_shapes(stem: Any, side_px: int, classes: int) -> None:
    """Nobody has to say which stem or how many classes a checkpoint has."""
    spec = replace(TINY, stem=stem, classes=classes, input_px=side_px)
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in SgeResNet(spec).state_dict().items()}
    weights = {name: torch.zeros(shape) for name, shape in shapes.items()}

    network = adopt(weights, "sge_resnet18", input_px=side_px).network

    assert network.spec == spec


def test_an_adopted_network_is_ready_to_classify() -> None:
    """It is in evaluation mode, on the CPU, in float32, and asks for no gradients."""
    network = adopt_tiny(tiny_weights())

    parameters = list(network.parameters())
    assert not network.training
    assert {(p.dtype, p.device.type, p.requires_grad) for p in parameters} == {
        (torch.float32, "cpu", False)
    }


def test_counters_of_batch_norm_may_be_absent() -> None:
    """Old checkpoints and some converters leave `num_batches_tracked` out."""
    weights = {name: value for name, value in tiny_weights().items() if "num_batches" not in name}

    network = adopt_tiny(weights)

    assert network.bn1.num_batches_tracked == 0
    assert torch.equal(network(random_input(32)).logits, tiny_network()(random_input(32)).logits)


@pytest.mark.parametrize(
    "spec",
    [TINY, ResNetSpec("sge_resnet50", classes=5, groups=64, input_px=64)],
    ids=["18 with 8 groups", "50 with 64 groups"],
)
def test_inserted_sge_keeps_the_function(spec: ResNetSpec) -> None:
    """A plain ResNet gives the logits it gives in torchvision.

    Dividing and multiplying by the gate rounds twice per block in float32, 6e-8 each; over 16
    blocks 1e-5 of the largest logit is a wide margin.
    """
    plain = random_network(plain_resnet, spec)
    weights = dict(plain.state_dict())
    pixels = random_input(spec.input_px).double()

    adopted = adopt(weights, spec.architecture, groups=spec.groups, input_px=spec.input_px)

    expected = plain.double()(pixels)
    logits = adopted.network.double()(pixels).logits
    assert adopted.sge_inserted
    assert adopted.network.spec == spec
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5 * expected.abs().max().item())


def test_inserted_sge_has_constant_gates_and_leaves_the_weights_alone() -> None:
    """Gamma is 0 and beta 1, in 64 groups unless told otherwise; the given tensors stay."""
    weights = tiny_plain_weights()
    before = {name: value.clone() for name, value in weights.items()}

    sge = adopt_tiny(dict(weights)).sge_of("layer4.1")

    torch.testing.assert_close(sge.weight.data, torch.zeros(1, 64, 1, 1))
    torch.testing.assert_close(sge.bias.data, torch.ones(1, 64, 1, 1))
    torch.testing.assert_close(dict(weights), before, rtol=0, atol=0)


def test_a_plain_checkpoint_with_a_missing_norm_is_refused_for_that_alone() -> None:
    """Inserting SGE does not hide what the checkpoint lacks."""
    weights = dict(tiny_plain_weights())
    del weights["layer1.0.bn2.weight"]

    assert message_of(weights).endswith("; missing: layer1.0.bn2.weight")


def test_every_misfit_is_listed() -> None:
    """One line names all missing, unexpected and misshapen keys."""
    weights = tiny_weights()
    del weights["fc.bias"], weights["layer1.0.bn1.running_mean"]
    weights |= {"fc.scale": torch.ones(3), "layer9.weight": torch.ones(3)}
    weights |= {"conv1.weight": torch.ones(64, 1, 3, 3), "bn1.bias": torch.ones(9)}

    assert message_of(weights) == (
        "the weights do not fit sge_resnet18 with 3 classes and 8 groups; "
        "missing: layer1.0.bn1.running_mean, fc.bias; "
        "unexpected: fc.scale, layer9.weight; "
        "misshapen: conv1.weight (64, 1, 3, 3), needs (64, 3, 3, 3), bn1.bias (9,), needs (64,)"
    )


def test_sge_in_some_blocks_only_is_refused() -> None:
    """A checkpoint with SGE in part of the network is damaged, not plain."""
    weights = tiny_weights()
    del weights["layer2.1.sge.weight"], weights["layer2.1.sge.bias"]

    assert message_of(weights).endswith("; missing: layer2.1.sge.weight, layer2.1.sge.bias")


def test_blocks_must_agree_on_the_groups() -> None:
    """The block that differs from the others is named."""
    weights = tiny_weights() | {"layer1.0.sge.weight": torch.ones(1, 16, 1, 1)}

    assert message_of(weights).endswith(
        "; misshapen: layer1.0.sge.weight (1, 16, 1, 1), needs (1, 8, 1, 1)"
    )


def test_an_empty_state_dict_is_refused() -> None:
    """Nothing at all is reported as everything missing."""
    with pytest.raises(BadCheckpoint, match=r"missing: conv1.weight, .* fc.weight, fc.bias$"):
        adopt({}, input_px=224)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_named(bad: float) -> None:
    """NaN and infinity never reach the store."""
    weights = tiny_weights()
    weights |= {name: torch.full_like(weights[name], bad) for name in ("bn1.bias", "fc.weight")}

    assert message_of(weights) == "nan or infinite weights in bn1.bias, fc.weight"


def test_double_weights_beyond_float32_are_not_finite() -> None:
    """A value that float32 cannot hold is refused, not rounded to infinity."""
    state = tiny_weights() | {"fc.bias": torch.full((3,), 1e300, dtype=torch.float64)}

    assert message_of(decode_weights(pickled(state), "net.pth")) == (
        "nan or infinite weights in fc.bias"
    )


@pytest.mark.parametrize(
    ("architecture", "groups", "input_px", "reason"),
    [
        ("resnet18", None, 32, "unknown architecture 'resnet18', known are: sge_resnet18, "),
        ("sge_resnet18", 7, 32, "7 groups do not divide 64 channels"),
        ("sge_resnet18", 0, 32, "0 groups do not divide 64 channels"),
        ("sge_resnet18", None, 16, "an input of 16 px ends in a 1x1 map"),
    ],
)
def test_a_network_that_cannot_be_is_refused(
    architecture: str, groups: int | None, input_px: int, reason: str
) -> None:
    """What was asked for is checked before any weight is."""
    with pytest.raises(BadCheckpoint) as caught:
        adopt(dict(tiny_plain_weights()), architecture, groups=groups, input_px=input_px)

    assert caught.value.message.startswith(reason)


def test_groups_asked_for_must_be_those_of_the_checkpoint() -> None:
    """Trained SGE cannot change its groups."""
    with pytest.raises(BadCheckpoint, match=r"^the weights have 8 groups, 64 were asked for$"):
        adopt_tiny(tiny_weights(), groups=64)


def test_a_deeper_network_is_not_built_from_a_shallower_ones_weights() -> None:
    """The store's strict load names what the manifest's network lacks."""
    with pytest.raises(BadCheckpoint, match=r"missing: layer1\.2\.conv1\.weight, "):
        build_network(replace(TINY, architecture="sge_resnet34"), tiny_weights())
