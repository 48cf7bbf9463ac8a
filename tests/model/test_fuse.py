"""The fused network computes what the reference does, for every kind of block, stem and group."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from service.model.fuse import FusedBlock, FusedResNet, fuse
from service.model.graph import InferenceGraph
from service.model.resnet import FEATURES, Outputs, ResNetSpec, SgeResNet
from service.model.sge import EPSILON
from tests.store_fixtures import random_network

SPECS = [
    pytest.param(ResNetSpec("sge_resnet18", 10, groups=8, input_px=40, stem="small"), id="small"),
    pytest.param(ResNetSpec("sge_resnet18", 10, groups=64, input_px=65), id="one channel a group"),
    pytest.param(ResNetSpec("sge_resnet18", 10, groups=1, input_px=64), id="one group"),
    pytest.param(ResNetSpec("sge_resnet50", 10, groups=32, input_px=64), id="bottlenecks"),
    pytest.param(ResNetSpec("sge_resnet50", 7, groups=64, input_px=33, stem="small"), id="both"),
    pytest.param(ResNetSpec("sge_resnet50", 7, groups=256, input_px=64), id="more than the stem"),
]


def fused_of(spec: ResNetSpec) -> FusedResNet:
    """The fused form of a network of that shape."""
    return fuse(random_network(SgeResNet, spec))


def images(spec: ResNetSpec, batch: int = 2) -> Tensor:
    """Normalised images of noise: (B, 3, S, S), channels last."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(batch, 3, spec.input_px, spec.input_px, generator=generator)
    return x.contiguous(memory_format=torch.channels_last)


def names(spec: ResNetSpec) -> list[str]:
    """Every block."""
    return [block.name for block in spec.blocks()]


def error(given: Tensor, exact: Tensor) -> float:
    """The largest difference, relative to the largest number."""
    return float((given - exact).abs().max() / exact.abs().max())


def worst(given: Outputs, exact: Outputs) -> float:
    """The largest error of any block's similarity."""
    return max(
        error(given.similarities[name], exact.similarities[name]) for name in names_of(exact)
    )


def names_of(outputs: Outputs) -> list[str]:
    """The blocks that were asked for."""
    return list(outputs.similarities)


@pytest.mark.parametrize("spec", SPECS)
def test_logits_and_every_similarity_are_exact(spec: ResNetSpec) -> None:
    """Against the reference in float64: logits to 1e-5, similarities like the reference itself."""
    network = random_network(SgeResNet, spec)
    x, every = images(spec), names(spec)

    given = fuse(network)(x, every)
    rounded = network(x, every)
    exact = network.double()(x.double(), every)

    assert names_of(given) == every
    assert error(given.logits, exact.logits) < 1e-5
    for name in every:
        assert given.similarities[name].shape == exact.similarities[name].shape
        assert given.similarities[name].dtype == torch.float32
    assert worst(given, exact) < max(1e-5, 4 * worst(rounded, exact))


@pytest.mark.parametrize("spec", SPECS)
def test_features_come_in_the_networks_own_groups(spec: ResNetSpec) -> None:
    """Whatever the order of channels in memory, to 1e-5 of the largest."""
    network = random_network(SgeResNet, spec)

    given, expected = (each(images(spec), {FEATURES}).features for each in (fuse(network), network))

    assert given is not None
    assert expected is not None
    assert error(given, expected) < 1e-5


def test_no_batchnorm_is_left_and_the_reference_is_not_changed() -> None:
    """Folding makes a network of its own."""
    network = random_network(SgeResNet, ResNetSpec("sge_resnet18", 10, groups=8, input_px=33))
    before = {name: value.clone() for name, value in network.state_dict().items()}

    fused = fuse(network)

    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
    assert not any(parameter.requires_grad for parameter in fused.parameters())
    after = network.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert after.keys() == before.keys()


def test_only_the_asked_blocks_are_returned_in_the_networks_order() -> None:
    """Whatever the order of asking."""
    spec = ResNetSpec("sge_resnet18", 10, groups=8, input_px=33)

    similarities = fused_of(spec)(images(spec), ["layer4.1", "layer1.0"]).similarities

    assert list(similarities) == ["layer1.0", "layer4.1"]


@pytest.mark.parametrize("value", [3.3, 300.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_uniform_map_has_no_pattern(dtype: torch.dtype, value: float) -> None:
    """Its deviation is zero: rounding alone must not make a pattern of it."""
    spec = ResNetSpec("sge_resnet18", 10, groups=8, input_px=33)
    block = fused_of(spec).blocks[0]
    assert isinstance(block, FusedBlock)
    x = torch.full((1, 64, 9, 9), value, dtype=dtype).to(memory_format=torch.channels_last)

    enhanced, raw = block.enhance(x, x[:, :, 0, 0])

    similarity = raw.similarity()
    assert enhanced.isfinite().all()
    assert similarity.abs().max() < 0.05
    assert enhanced.dtype == dtype


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_similarity_is_not_rounded_to_half_precision(dtype: torch.dtype) -> None:
    """Of maps in any precision: it is the formula's in float64, but for float32's own rounding."""
    spec = ResNetSpec("sge_resnet18", 10, groups=8, input_px=33)
    block = fused_of(spec).blocks[0]
    assert isinstance(block, FusedBlock)
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(2, 64, 9, 9, generator=generator).relu().to(dtype)
    x = x.to(memory_format=torch.channels_last)
    descriptor = x.float().mean(dim=(2, 3)).to(dtype)

    _, raw = block.enhance(x, descriptor)

    products = x.double() * descriptor.double()[:, :, None, None]
    values = products.view(2, -1, 8, 9, 9).sum(dim=1)  # (B, G, H, W)
    centred = values - values.mean(dim=(2, 3), keepdim=True)
    expected = centred / (values.std(dim=(2, 3), keepdim=True) + EPSILON)
    # The mean of values is taken to be the descriptor's squared length: in half precision it is so
    # up to the descriptor's rounding, which moves all positions alike and goes with the mean.
    assert (raw.similarity() - expected).abs().max() < 1e-4


def test_bf16_keeps_the_classes_order() -> None:
    """With 8 bits a logit is off by at most 5 % of the largest; SGE's own numbers stay float32."""
    spec = ResNetSpec("sge_resnet18", 10, groups=8, input_px=48)
    pixels = torch.randint(0, 256, (4, 3, 48, 48), generator=torch.Generator().manual_seed(3))
    network = random_network(SgeResNet, spec)

    exact = InferenceGraph(fuse(network), (0.5,) * 3, (0.25,) * 3)(pixels.byte())
    rough = InferenceGraph(fuse(network), (0.5,) * 3, (0.25,) * 3, torch.bfloat16)(
        pixels.byte(), ["layer1.0"]
    )

    assert error(rough.logits, exact.logits) < 0.05
    assert rough.similarities["layer1.0"].dtype == torch.float32
