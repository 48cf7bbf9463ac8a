"""The peers of `bench engines`: ONNX Runtime and OpenVINO on the same graphs, weights and threads.

They come with the extra `bench`; one that is not installed is reported absent. Each gets the
graph as ONNX, uint8 pixels in, logits out, and runs on the CPU.
"""

from __future__ import annotations

import contextlib
import functools
import io
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from service.model.graph import InferenceGraph
from service.store.load import LoadedModel
from tests.bench.entrants import CannotRun, Entrant, Logits, Pixels, Runner
from tests.bench.extra import import_extra
from tests.bench.ours import graph_of

LIBRARIES = ("onnxruntime", "openvino", "nncf", "onnx", "onnxscript")
LARGEST_BATCH = 1024

# OpenVINO's own names of what it computes in; quantised networks keep f32 for the rest.
_OPENVINO_TYPES = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"}
_OF_SOME_PROCESSORS = ("bf16", "fp16")


@dataclass(frozen=True, slots=True)
class Peers:
    """What the peers share.

    Attributes:
        model: the network with SGE.
        folder: where the exported graphs are kept meanwhile.
        threads: of one forward pass.
        precisions: of OpenVINO; ONNX Runtime computes in fp32 here.
        forms: of the network.
        calibration: what int8 is calibrated on; it is of the size that the network sees.
    """

    model: LoadedModel
    folder: Path
    threads: int
    precisions: tuple[str, ...]
    forms: tuple[str, ...]
    calibration: Pixels


def peer_entrants(peers: Peers) -> Iterator[Entrant]:
    """ONNX Runtime in fp32 and OpenVINO in every precision, on each form of the network."""
    for form in peers.forms:
        if "fp32" in peers.precisions:
            build = functools.partial(_onnxruntime, peers, form)
            yield Entrant("onnxruntime", form, "fp32", build)
        for precision in peers.precisions:
            build = functools.partial(_openvino, peers, form, precision)
            yield Entrant("openvino", form, precision, build)


class _LogitsOnly(nn.Module):
    def __init__(self, graph: InferenceGraph) -> None:
        super().__init__()
        self.inner = graph  # the exporter takes the name `graph` for itself

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.inner(pixels).logits
        return logits


def exported(model: LoadedModel, form: str, folder: Path) -> Path:
    """Write one form of the network as ONNX, for any batch; a file that is there is taken.

    Raises:
        BadSetting: the exporter is not installed.
    """
    path = folder / f"{form.replace(' ', '-')}.onnx"
    if path.exists():
        return path
    for name in ("onnx", "onnxscript"):
        import_extra(name)
    side = model.manifest.input.size_px
    pixels = torch.zeros(2, 3, side, side, dtype=torch.uint8)
    batch = torch.export.Dim("batch", min=1, max=LARGEST_BATCH)
    torch.onnx.export(
        _LogitsOnly(graph_of(model, form, "fp32")).eval(),
        (pixels,),
        path,
        input_names=["pixels"],
        output_names=["logits"],
        dynamic_shapes={"pixels": {0: batch}},
        dynamo=True,
        verbose=False,
    )
    return path


def _onnxruntime(peers: Peers, form: str) -> Runner:
    ort = import_extra("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = peers.threads
    options.log_severity_level = 3  # errors; it warns of graphs it could have simplified
    path = exported(peers.model, form, peers.folder)
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda pixels: np.asarray(session.run(["logits"], {"pixels": pixels})[0])


def _openvino(peers: Peers, form: str, precision: str) -> Runner:
    core = import_extra("openvino").Core()
    has = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision in _OF_SOME_PROCESSORS and precision.upper() not in has:
        raise CannotRun(f"the processor has no {precision}, OpenVINO would compute in fp32")
    model = core.read_model(exported(peers.model, form, peers.folder))
    if precision == "int8":
        model = _quantised(model, peers.calibration)
    options = {
        "PERFORMANCE_HINT": "LATENCY",  # one batch at a time, on all threads
        "INFERENCE_NUM_THREADS": peers.threads,
        "INFERENCE_PRECISION_HINT": _OPENVINO_TYPES[precision],
    }
    return _PerBatch(functools.partial(_compile_openvino, core, model, options))


def _compile_openvino(core: Any, model: Any, options: dict[str, Any], shape: list[int]) -> Runner:
    model.reshape(shape)
    request = core.compile_model(model, "CPU", options).create_infer_request()
    return lambda pixels: np.array(request.infer([pixels], share_inputs=True)[0])


class _PerBatch:
    """Compiles for each batch size when it first comes: fixed shapes are a peer's best."""

    def __init__(self, build: Callable[[list[int]], Runner]) -> None:
        self._build = build
        self._runners: dict[int, Runner] = {}

    def __call__(self, pixels: Pixels) -> Logits:
        runner = self._runners.get(len(pixels))
        if runner is None:
            runner = self._runners[len(pixels)] = self._build(list(pixels.shape))
        return runner(pixels)


def _quantised(model: Any, calibration: Pixels) -> Any:
    # NNCF reports its use over the network unless this module is missing; a bench does not.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    nncf = import_extra("nncf")
    nncf.set_log_level("ERROR")
    samples = nncf.Dataset([row[None] for row in calibration])
    with contextlib.redirect_stdout(io.StringIO()):  # it draws its progress
        return nncf.quantize(model, samples, subset_size=len(calibration))
