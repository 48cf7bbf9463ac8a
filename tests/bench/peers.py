"""The peers: ONNX Runtime and OpenVINO on the same graphs, weights and threads.

They come with the extra `bench`; one that is not installed is reported absent. Each gets the
graph as ONNX, uint8 pixels in, logits out, and runs on the CPU.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from service.model.graph import InferenceGraph
from service.store.load import LoadedModel
from tests.bench.entrants import CannotRun, EngineBench, Entrant, Pixels, Runner, random_pixels
from tests.bench.networks import graph_of
from tests.bench.ours import CALIBRATION_IMAGES

LIBRARIES = ("onnxruntime", "openvino", "nncf", "onnx", "onnxscript")
LARGEST_BATCH = 1024

# OpenVINO's own names of what it computes in; quantised networks keep f32 for the rest.
_OPENVINO_TYPES = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"}
_OF_SOME_PROCESSORS = ("bf16", "fp16")

Export = Callable[[], Path]
"""Writes a form of the network as ONNX."""


def import_peer(name: str) -> Any:
    """Import a library of the extra `bench`.

    Raises:
        CannotRun: it, or something that it needs, is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        missing = error.name or name
        raise CannotRun(f"{missing} is not installed: pip install 'sge-serve[bench]'") from error


def peer_entrants(wanted: EngineBench, model: LoadedModel, folder: Path) -> Iterator[Entrant]:
    """ONNX Runtime in fp32 and OpenVINO in every precision; exports go into the folder."""
    calibration = random_pixels(CALIBRATION_IMAGES, model.manifest.input.size_px)
    for form in wanted.peer_forms:
        export = functools.partial(exported, model, form, folder)
        if "fp32" in wanted.precisions:
            build = functools.partial(_onnxruntime, export, wanted.threads)
            yield Entrant("onnxruntime", form, "fp32", build)
        for precision in wanted.precisions:
            build = functools.partial(_openvino, export, wanted.threads, precision, calibration)
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
        CannotRun: the exporter is not installed.
    """
    path = folder / f"{form.replace(' ', '-')}.onnx"
    if path.exists():
        return path
    for name in ("onnx", "onnxscript"):
        import_peer(name)
    side = model.manifest.input.size_px
    batch = torch.export.Dim("batch", min=1, max=LARGEST_BATCH)
    torch.onnx.export(
        _LogitsOnly(graph_of(model, form, "fp32")).eval(),
        (torch.zeros(2, 3, side, side, dtype=torch.uint8),),
        path,
        input_names=["pixels"],
        output_names=["logits"],
        dynamic_shapes={"pixels": {0: batch}},
        dynamo=True,
        verbose=False,
    )
    return path


def _onnxruntime(export: Export, threads: int) -> Runner:
    ort = import_peer("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors; it warns of graphs it could have simplified
    session = ort.InferenceSession(export(), options, providers=["CPUExecutionProvider"])
    return lambda pixels: np.asarray(session.run(["logits"], {"pixels": pixels})[0])


def _openvino(export: Export, threads: int, precision: str, calibration: Pixels) -> Runner:
    core = import_peer("openvino").Core()
    has = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision in _OF_SOME_PROCESSORS and precision.upper() not in has:
        raise CannotRun(f"the processor has no {precision}, OpenVINO would compute in fp32")
    model = core.read_model(export())
    if precision == "int8":
        model = _quantised(model, calibration)
    options = {
        "PERFORMANCE_HINT": "LATENCY",  # one batch at a time, on all threads
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": _OPENVINO_TYPES[precision],
    }

    @functools.cache
    def request_for(shape: tuple[int, ...]) -> Any:
        """Compiled when a batch size first comes: fixed shapes are a peer's best."""
        model.reshape(list(shape))
        return core.compile_model(model, "CPU", options).create_infer_request()

    return lambda pixels: np.array(request_for(pixels.shape).infer([pixels], share_inputs=True)[0])


def _quantised(model: Any, calibration: Pixels) -> Any:
    # NNCF reports its use over the network unless this module is missing; a bench does not.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    nncf = import_peer("nncf")
    nncf.set_log_level("ERROR")
    samples = nncf.Dataset([row[None] for row in calibration])
    with contextlib.redirect_stdout(io.StringIO()):  # it draws its progress
        return nncf.quantize(model, samples, subset_size=len(calibration))
