"""Static quantisation of a network to int8, by torchao's PT2E.

Only a build imports this module: torchao comes with the extra `int8`, and a package that is kept
runs without it. What is quantised and why: `decisions/0008`.

B: batch.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import GraphModule
from torchao.quantization.pt2e import MinMaxObserver, PerChannelMinMaxObserver
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
from torchao.quantization.pt2e.quantizer import (
    QuantizationAnnotation,
    QuantizationSpec,
    Quantizer,
)

# Imported for what it registers: inductor's passes that turn the result into kernels of oneDNN.
from torchao.quantization.pt2e.quantizer import (
    x86_inductor_quantizer as _x86_inductor_quantizer,  # noqa: F401
)

from service.engines.aoti.build import export_network, export_program
from service.model.graph import InferenceGraph

CALIBRATED_AT_ONCE = 8  # images: their float maps stay below a gigabyte
SMALLEST_SCALE = 2**-20  # of a map or channel of zeros

_ANNOTATION = "quantization_annotation"

aten = torch.ops.aten


class ConvolutionQuantizer(Quantizer):
    """Quantises what every convolution reads: maps to uint8, weights to int8, one scale a channel.

    A convolution that another one reads directly then writes uint8. What SGE and the shortcut read
    stays float32.

    Args:
        weight_bits: 8, or 7 where the processor adds pairs of products in 16 bits.
    """

    def __init__(self, weight_bits: int) -> None:
        super().__init__()
        largest = 2 ** (weight_bits - 1) - 1
        self.maps = QuantizationSpec(
            dtype=torch.uint8,
            quant_min=0,
            quant_max=255,
            qscheme=torch.per_tensor_affine,
            observer_or_fake_quant_ctr=MinMaxObserver.with_args(eps=SMALLEST_SCALE),
        )
        self.weights = QuantizationSpec(
            dtype=torch.int8,
            quant_min=-largest,
            quant_max=largest,
            qscheme=torch.per_channel_symmetric,
            ch_axis=0,
            observer_or_fake_quant_ctr=PerChannelMinMaxObserver.with_args(eps=SMALLEST_SCALE),
        )

    def annotate(self, model: GraphModule) -> GraphModule:
        """Mark what is quantised."""
        for node in model.graph.nodes:
            if node.target is aten.conv2d.default:
                maps, weights = node.args[:2]
                node.meta[_ANNOTATION] = QuantizationAnnotation(
                    input_qspec_map={maps: self.maps, weights: self.weights}, _annotated=True
                )
        return model

    def validate(self, model: GraphModule) -> None:
        """Nothing can be wrong: what is marked is not the caller's choice."""


def export_quantised(graph: InferenceGraph, pixels: Tensor, weight_bits: int) -> ExportedProgram:
    """Export a network in int8.

    Args:
        graph: float32, on the CPU.
        pixels: (B, 3, h, w) uint8, what the ranges of all maps are measured on.
        weight_bits: 7 or 8.
    """
    program = export_network(graph, pixels.shape[-1])
    observed = prepare_pt2e(program.module(check_guards=False), ConvolutionQuantizer(weight_bits))
    with torch.no_grad():
        for batch in torch.split(pixels, CALIBRATED_AT_ONCE):
            observed(batch)
    return export_program(convert_pt2e(observed), program.example_inputs[0][0])
