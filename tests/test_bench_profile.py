"""Where a pass spends its time: kernels sorted by kind, and both forms compiled and seen."""

from __future__ import annotations

import pytest
import torch
from torchvision.models import resnet50

from service.bench.networks import random_bundle
from service.bench.profile import (
    BETWEEN,
    CONVOLUTIONS,
    OTHERS,
    SGE,
    WHOLE,
    by_turns,
    convolution_operations,
    fused_pass,
    kind_of,
    parts,
    plain_pass,
)
from service.bench.ratios import FUSED, PLAIN
from service.model.resnet import ResNetSpec
from tests.engine_builders import needs_compiler
from tests.store_fixtures import TINY


@pytest.mark.parametrize(
    ("kernel", "kind"),
    [
        ("mkldnn::_convolution_pointwise_", CONVOLUTIONS),
        ("aoti_torch_cpu_mkldnn__convolution_pointwise_binary", CONVOLUTIONS),
        ("graph_2_cpp_fused_add_clamp_mean_mul_pow_relu_sigmoid_sqrt_sub_3", SGE),
        ("graph_1_cpp_fused_max_pool2d_with_indices_1", OTHERS),
        ("aoti_torch_cpu__linear_pointwise", OTHERS),
        ("aten::empty", BETWEEN),
    ],
)
def test_a_kernels_name_tells_what_it_computes(kernel: str, kind: str) -> None:
    """Names as both ways of compiling write them."""
    assert kind_of(kernel) == kind


def test_parts_make_up_the_whole() -> None:
    """Means over the passes; what no kernel accounts for is told as well."""
    rounds = [
        {"mkldnn::_convolution_pointwise": 4.0, "aten::empty": 1.0, WHOLE: 10.0},
        {"mkldnn::_convolution_pointwise": 8.0, "graph_0_cpp_fused_mean_2": 2.0, WHOLE: 20.0},
    ]

    found = {part.name: part for part in parts(PLAIN, rounds, operations=3e9)}

    assert {name: part.ms for name, part in found.items()} == {
        CONVOLUTIONS: 6.0,
        SGE: 0.0,
        OTHERS: 1.0,
        BETWEEN: 8.0,
    }
    assert sum(part.share for part in found.values()) == pytest.approx(1.0)
    assert found[CONVOLUTIONS].gflops == pytest.approx(500.0)
    assert found[SGE].gflops is None


def test_the_operations_are_those_of_the_network() -> None:
    """A ResNet-50 multiplies 4.09e9 times on 224 px, of which its classifier does 2e6."""
    counted = convolution_operations(ResNetSpec("sge_resnet50"))

    with torch.device("meta"):
        classifier = resnet50().fc.weight.numel()
    assert counted / 2 + classifier == pytest.approx(4.09e9, rel=1e-3)


@needs_compiler
@pytest.mark.slow
def test_every_kernel_of_both_forms_is_seen() -> None:
    """Convolutions in both, SGE in one; little is left between the kernels that are known."""
    bundle = random_bundle(TINY)
    side_px = bundle.manifest.input.size_px
    pixels = torch.randint(0, 256, (4, 3, side_px, side_px), dtype=torch.uint8)

    seen = by_turns({PLAIN: plain_pass(bundle, pixels), FUSED: fused_pass(bundle, pixels)}, 2)

    found = {(form, p.name): p.ms for form in seen for p in parts(form, seen[form], 1.0)}
    assert found[PLAIN, CONVOLUTIONS] > 0
    assert found[PLAIN, SGE] == 0
    assert found[FUSED, CONVOLUTIONS] > 0
    assert found[FUSED, SGE] > 0
    assert [len(rounds) for rounds in seen.values()] == [2, 2]
