"""A model as an ONNX file, for other programs: pixels in; logits, and maps of blocks, out.

B: batch, K: classes, G: groups.
"""

from __future__ import annotations

import copy
import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.export import Dim

from service.errors import BadSetting
from service.model.graph import InferenceGraph
from service.store.load import LoadedModel

InputKind = Literal["uint8", "float"]
MapKind = Literal["gate", "similarity"]

OPSET = 18
INPUT_NAME = "pixels"
LOGITS_NAME = "logits"
_LIBRARIES = ("onnx", "onnxscript")


@dataclass(frozen=True, slots=True)
class OnnxRequest:
    """What an ONNX file is to take and to give.

    Attributes:
        input: RGB, `uint8` from 0 to 255, or `float`, float32 from 0 to 1; normalised inside.
        blocks: names of the blocks whose maps are given beside the logits.
        kind: of these maps.
    """

    input: InputKind
    blocks: tuple[str, ...]
    kind: MapKind

    @property
    def outputs(self) -> list[str]:
        """The names of the outputs, in their order."""
        return [LOGITS_NAME, *(f"{self.kind}_{block}" for block in self.blocks)]


class _OnnxGraph(nn.Module):
    """The inference graph for one request, its outputs a flat tuple."""

    def __init__(self, model: LoadedModel, request: OnnxRequest) -> None:
        super().__init__()
        contract, network = model.manifest.input, copy.deepcopy(model.network)
        self.inference = InferenceGraph(network, contract.mean, contract.std)
        self.blocks = request.blocks
        self.largest = 255.0 if request.input == "float" else 1.0
        gates = request.blocks if request.kind == "gate" else ()
        self.enhance = nn.ModuleList(network.sge_of(block) for block in gates)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Return logits (B, K) and each block's map (B, G, h, w), all float32."""
        outputs = self.inference(pixels * self.largest, set(self.blocks))
        maps = [outputs.similarities[block] for block in self.blocks]
        if len(self.enhance):
            maps = [sge.gates(n) for sge, n in zip(self.enhance, maps, strict=True)]  # type: ignore[operator]  # of a Module
        return outputs.logits, *maps


def is_installed(library: str) -> bool:
    """Whether a library can be imported; does not import it."""
    return importlib.util.find_spec(library) is not None


def require_exporter(has: Callable[[str], bool] = is_installed) -> None:
    """Refuse where what writes ONNX is not installed.

    Args:
        has: whether a library is installed.

    Raises:
        BadSetting: it is not.
    """
    absent = [name for name in _LIBRARIES if not has(name)]
    if absent:
        raise BadSetting(
            f"writing ONNX needs {' and '.join(absent)}: pip install 'sge-serve[onnx]'"
        )


def write_onnx(model: LoadedModel, request: OnnxRequest, path: Path) -> None:
    """Write a model as ONNX of opset 18, for batches of any size.

    The network is the one of the paper, BatchNorm and channels as the weights have them: programs
    that read ONNX fold and lay out by themselves. Labels, the model's key and what its input has to
    be are in `metadata_props`.

    Args:
        model: the model.
        request: what the file is to take and to give.
        path: of the file; one that is there is overwritten.
    """
    side = model.manifest.input.size_px
    dtype = torch.float32 if request.input == "float" else torch.uint8
    program = torch.onnx.export(
        _OnnxGraph(model, request).eval(),
        (torch.zeros(2, 3, side, side, dtype=dtype),),
        input_names=[INPUT_NAME],
        output_names=request.outputs,
        opset_version=OPSET,
        dynamic_shapes={INPUT_NAME: {0: Dim("batch", min=1, max=65_536)}},
        dynamo=True,
        verbose=False,
    )
    if program is None:
        raise RuntimeError("torch wrote no program")
    program.model.metadata_props.update(_metadata(model, request))
    program.save(path)


def _metadata(model: LoadedModel, request: OnnxRequest) -> dict[str, str]:
    manifest = model.manifest
    contract: dict[str, Any] = manifest.input.model_dump(mode="json", exclude={"mean", "std"})
    contract |= {
        "name": INPUT_NAME,
        "layout": "NCHW",
        "channels": "RGB",
        "range": [0, 1] if request.input == "float" else [0, 255],
        "normalised_inside": True,
    }
    return {
        "model": model.key,
        "architecture": manifest.architecture,
        "groups": str(manifest.groups),
        "licence": manifest.licence,
        "labels": json.dumps(model.labels, ensure_ascii=False),
        "input": json.dumps(contract),
    }
