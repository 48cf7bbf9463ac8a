"""Where a pass spends its time: kernels sorted by kind, and both forms compiled and seen."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet50

from service.engines.aoti.build import EXAMPLE_BATCH, ToCompile, export_program
from service.engines.aoti.kernels.library import kernels_of_this_process
from service.engines.aoti.kernels.network import ONEDNN, Choice, KernelBlock, with_kernels
from service.engines.aoti.package import NETWORK
from service.errors import EngineFailed
from service.model.fuse import fuse
from service.model.resnet import ResNetSpec, SgeResNet
from tests.bench.networks import FUSED, PLAIN, convolution_operations
from tests.bench.profile import (
    BETWEEN,
    CONVOLUTIONS,
    OTHERS,
    SGE,
    WHOLE,
    Pass,
    by_turns,
    compiled_by,
    kind_of,
    parts,
)
from tests.bench.programs import compiled_program
from tests.engine_builders import needs_compiler
from tests.engines.networks import BOTTLENECKS
from tests.running import tiny_model
from tests.store_fixtures import random_network


@pytest.mark.parametrize(
    ("kernel", "kind"),
    [
        ("mkldnn::_convolution_pointwise_", CONVOLUTIONS),
        ("aoti_torch_cpu_mkldnn__convolution_pointwise_binary", CONVOLUTIONS),
        ("graph_2_cpp_fused_add_clamp_mean_mul_pow_relu_sigmoid_sqrt_sub_3", SGE),
        ("graph_1_cpp_fused_max_pool2d_with_indices_1", OTHERS),
        ("aoti_torch_cpu__linear_pointwise", OTHERS),
        ("aoti_torch_cpu_convolve", CONVOLUTIONS),
        ("aoti_torch_cpu_compare", SGE),
        ("graph_0_cpp_fused_convolve_permute_relu_1", OTHERS),
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


class OneBlock(nn.Module):
    """A bottleneck by our kernels, as a program takes and returns it.

    Args:
        panel: what the kernels sum at a time.
    """

    def __init__(self, panel: int) -> None:
        super().__init__()
        network = with_kernels(
            fuse(random_network(SgeResNet, BOTTLENECKS)),
            lambda convolution: ONEDNN if convolution.kernel_size == (3, 3) else Choice(panel),
        )
        self.block = next(m for m in network.modules() if isinstance(m, KernelBlock))

    def forward(self, maps: Tensor) -> list[Tensor]:
        """Run (B, h, w, 64) float32."""
        maps, raw_similarity = self.block(maps)
        return [maps, *raw_similarity]


@needs_compiler
@pytest.mark.slow
def test_the_kernels_of_a_compiled_program_are_seen() -> None:
    """Convolutions, oneDNN's and ours, and SGE of one block, named as a network's."""
    kernels = kernels_of_this_process()
    block, maps = OneBlock(kernels.panel).eval(), torch.rand(EXAMPLE_BATCH, 8, 8, 64)
    wanted = ToCompile({NETWORK: lambda: export_program(block, maps)}, kernels)
    program = compiled_program(wanted, profiled=True)

    (seen,) = by_turns({FUSED: lambda: program([maps])}, rounds=1)[FUSED]

    assert {
        "aoti_torch_cpu_convolve",
        "aoti_torch_cpu_compare",
        "aoti_torch_cpu_mkldnn__convolution_pointwise",
    } < seen.keys()
    found = {part.name: part.ms for part in parts(FUSED, [seen], operations=1e9)}
    assert found[CONVOLUTIONS] > 0
    assert found[SGE] > 0
    assert sum(found.values()) == pytest.approx(seen[WHOLE])


def test_what_cannot_be_compiled_is_one_clear_line() -> None:
    """As without a C++ compiler."""
    pixels = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)

    def build(*_: object) -> Pass:
        raise RuntimeError("no compiler\nand much more")

    with pytest.raises(EngineFailed, match=r"^the network cannot be compiled, plain: no compiler$"):
        compiled_by(build, PLAIN, tiny_model(), pixels)
