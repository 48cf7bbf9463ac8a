"""SGE against a slow float64 loop written from the formula.

B: batch, C: channels, G: groups, H and W: height and width of a feature map.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from service.model.sge import EPSILON, SpatialGroupEnhance

# A few dozen float32 terms of either sign, each rounded by up to 6e-8 of itself.
FLOAT32_ROUNDING = 1e-5
# bfloat16 keeps 8 significant bits: the gate and then the product are rounded by up to 2**-8 each.
BFLOAT16_ROUNDING = 2**-7


@dataclass(frozen=True, slots=True)
class Variant:
    """A published variant: its groups, its initial beta, and a number of channels for it."""

    groups: int
    initial_bias: float
    channels: int


AUTHORS = Variant(groups=64, initial_bias=1.0, channels=128)
COPIED = Variant(groups=8, initial_bias=0.0, channels=40)

both_variants = pytest.mark.parametrize(
    "variant", [pytest.param(AUTHORS, id="authors"), pytest.param(COPIED, id="copied")]
)


class Expected(NamedTuple):
    """What the formula gives: the enhanced map (B, C, H, W), similarity and gates (B, G, H, W)."""

    enhanced: Tensor
    similarity: Tensor
    gates: Tensor


def enhance_slowly(x: Tensor, module: SpatialGroupEnhance) -> Expected:
    """Follow the formula group by group in Python's floats, which are float64."""
    batch, channels, height, width = x.shape
    enhanced = torch.empty(x.shape, dtype=torch.float64)
    similarity = torch.empty((batch, module.groups, height, width), dtype=torch.float64)
    gates = torch.empty_like(similarity)
    size = channels // module.groups
    for row in range(batch):
        for group in range(module.groups):
            first = group * size
            n = similarity_slowly(
                [
                    [x[row, first + k, i, j].item() for k in range(size)]
                    for i in range(height)
                    for j in range(width)
                ]
            )
            gamma, beta = module.weight[0, group].item(), module.bias[0, group].item()
            for index, value in enumerate(n):
                i, j = divmod(index, width)
                gate = 1 / (1 + math.exp(-(gamma * value + beta)))
                similarity[row, group, i, j] = value
                gates[row, group, i, j] = gate
                for k in range(first, first + size):
                    enhanced[row, k, i, j] = gate * x[row, k, i, j].item()
    return Expected(enhanced, similarity, gates)


def similarity_slowly(vectors: list[list[float]]) -> list[float]:
    """The n_i of one group from its vectors x_i, one per position."""
    positions, size = len(vectors), len(vectors[0])
    descriptor = [sum(vector[k] for vector in vectors) / positions for k in range(size)]
    raw = [sum(descriptor[k] * vector[k] for k in range(size)) for vector in vectors]
    mean = sum(raw) / positions
    variance = sum((value - mean) ** 2 for value in raw) / (positions - 1)
    return [(value - mean) / (math.sqrt(variance) + EPSILON) for value in raw]


def trained(variant: Variant, generator: torch.Generator) -> SpatialGroupEnhance:
    """A module whose gamma and beta have moved away from where the variant starts."""
    module = SpatialGroupEnhance(variant.channels, variant.groups, variant.initial_bias)
    with torch.no_grad():
        module.weight.normal_(generator=generator)
        module.bias.add_(torch.randn(module.bias.shape, generator=generator))
    return module.requires_grad_(requires_grad=False)


def feature_map(variant: Variant, generator: torch.Generator) -> Tensor:
    """A random feature map (2, C, 4, 5) float32."""
    return torch.randn((2, variant.channels, 4, 5), generator=generator)


@both_variants
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_enhancement_follows_the_formula(
    variant: Variant, layout: torch.memory_format, generator: torch.Generator
) -> None:
    """Map, similarity and gates equal the paper's formula, whatever the memory layout."""
    module = trained(variant, generator)
    x = feature_map(variant, generator).to(memory_format=layout)

    enhanced, similarity = module(x)

    actual = Expected(enhanced.double(), similarity.double(), module.gates(similarity).double())
    torch.testing.assert_close(
        actual, enhance_slowly(x, module), rtol=FLOAT32_ROUNDING, atol=FLOAT32_ROUNDING
    )


@both_variants
def test_bfloat16_is_normalised_in_float32(variant: Variant, generator: torch.Generator) -> None:
    """Half-width input rounds the enhanced map, never the similarity or the gates."""
    module = trained(variant, generator).bfloat16()
    x = feature_map(variant, generator).bfloat16()
    expected = enhance_slowly(x, module)

    enhanced, similarity = module(x)

    assert enhanced.dtype == torch.bfloat16
    torch.testing.assert_close(
        (similarity.double(), module.gates(similarity).double()),
        (expected.similarity, expected.gates),
        rtol=FLOAT32_ROUNDING,
        atol=FLOAT32_ROUNDING,
    )
    torch.testing.assert_close(enhanced.double(), expected.enhanced, rtol=BFLOAT16_ROUNDING, atol=0)


@both_variants
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_uniform_image_gives_finite_numbers(
    variant: Variant, dtype: torch.dtype, generator: torch.Generator
) -> None:
    """A map that is the same everywhere has no deviation, yet its gates are sigmoid(beta)."""
    module = trained(variant, generator)
    x = torch.full((1, variant.channels, 4, 5), 0.75, dtype=dtype)

    enhanced, similarity = module(x)

    gates = torch.sigmoid(module.bias).expand(1, variant.groups, 4, 5)
    assert enhanced.isfinite().all()
    torch.testing.assert_close(similarity, torch.zeros_like(similarity))
    torch.testing.assert_close(module.gates(similarity), gates)


@both_variants
def test_gates_lie_between_zero_and_one(variant: Variant, generator: torch.Generator) -> None:
    """A gate weakens a position or leaves it nearly as it was; it is never 0 or 1."""
    module = trained(variant, generator)

    _, similarity = module(feature_map(variant, generator))

    gates = module.gates(similarity)
    assert gates.min() > 0
    assert gates.max() < 1


@both_variants
def test_similarity_is_standardised(variant: Variant, generator: torch.Generator) -> None:
    """Over a group's positions the mean is 0 and the deviation, divided by N - 1, is 1."""
    x = (
        feature_map(variant, generator) + 1
    )  # a descriptor near 1, so that raw similarities vary by 1

    _, similarity = trained(variant, generator)(x)

    flat = similarity.flatten(2)  # (B, G, N)
    # EPSILON takes its share of the deviation: 1e-3 where raw similarities vary by 0.01.
    torch.testing.assert_close(flat.mean(2), torch.zeros(2, variant.groups), rtol=0, atol=1e-5)
    torch.testing.assert_close(flat.std(2), torch.ones(2, variant.groups), rtol=0, atol=1e-3)


@both_variants
def test_nothing_crosses_the_batch(variant: Variant, generator: torch.Generator) -> None:
    """An image's gates are the same alone and beside other images."""
    module = trained(variant, generator)
    x = feature_map(variant, generator)

    together = module(x)
    alone = module(x[1:])

    torch.testing.assert_close(alone[0], together[0][1:])
    torch.testing.assert_close(alone[1], together[1][1:])


@both_variants
def test_untrained_gates_are_constant(variant: Variant, generator: torch.Generator) -> None:
    """With gamma 0 every gate is sigmoid(beta), as at the start of training."""
    module = SpatialGroupEnhance(variant.channels, variant.groups, variant.initial_bias)

    _, similarity = module(feature_map(variant, generator))

    gates = torch.full_like(similarity, 1 / (1 + math.exp(-variant.initial_bias)))
    torch.testing.assert_close(module.gates(similarity), gates)


@pytest.mark.parametrize(("channels", "groups"), [(64, 7), (64, 0), (8, 16)])
def test_groups_that_do_not_divide_are_refused(channels: int, groups: int) -> None:
    """The message gives both numbers."""
    with pytest.raises(ValueError, match=f"^{groups} groups do not divide {channels} channels$"):
        SpatialGroupEnhance(channels, groups)
