"""Models as ONNX files, run by ONNX Runtime beside our own engine."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from service.engines.base import EngineOutputs
from service.engines.eager import EagerEngine
from service.engines.onnx_file import OnnxRequest, write_onnx
from service.serving.served_model import gate_of
from service.store.load import LoadedModel
from tests.engine_builders import CPU, infer
from tests.engines.networks import BASIC, BOTTLENECKS, model_of
from tests.running import noise

UINT8 = OnnxRequest("uint8", ("layer2.0", "layer4.0"), "gate")
FLOAT = OnnxRequest("float", ("layer1.0", "layer4.0"), "similarity")

Case = tuple[LoadedModel, OnnxRequest]


@pytest.fixture(scope="module", params=[(BASIC, UINT8), (BOTTLENECKS, FLOAT)], ids=["basic", "50"])
def case(request: pytest.FixtureRequest) -> Case:
    """Each kind of block, each kind of input and of map, once."""
    spec, wanted = request.param
    return model_of(spec), wanted


@pytest.fixture(scope="module")
def session(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The file, in ONNX Runtime."""
    model, request = case
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    write_onnx(model, request, path)
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def answers(case: Case) -> Callable[[list[NDArray[np.uint8]]], EngineOutputs]:
    """What our eager engine says of rows, in float32."""
    model, request = case
    engine = EagerEngine(model, CPU, "fp32")
    engine.load()
    return lambda rows: infer(engine, rows, frozenset(request.blocks))


@pytest.mark.parametrize("batch", [1, 3])
def test_onnx_runtime_gives_what_the_engine_does(
    case: Case,
    session: Any,
    answers: Callable[[list[NDArray[np.uint8]]], EngineOutputs],
    batch: int,
) -> None:
    """Logits and maps to 1e-4, whose sums are in another order; for any batch."""
    model, request = case
    side = model.manifest.spec.input_px
    rows = [noise(seed, side).transpose(2, 0, 1).copy() for seed in range(batch)]
    pixels = np.stack(rows)
    expected = answers(rows)

    given = pixels.astype(np.float32) / 255 if request.input == "float" else pixels
    logits, *maps = session.run(None, {"pixels": given})

    np.testing.assert_allclose(logits, expected.logits, rtol=1e-4, atol=1e-4)
    assert len(maps) == len(request.blocks)
    for block, shown in zip(request.blocks, maps, strict=True):
        for image, similarity in enumerate(expected.similarities[block]):
            gates = gate_of(model, block).gates(similarity)
            of_kind = gates if request.kind == "gate" else similarity
            np.testing.assert_allclose(shown[image], of_kind, rtol=1e-4, atol=1e-4)


def test_the_file_says_what_it_takes_and_gives(case: Case, session: Any) -> None:
    """Names, types and shapes, and in its metadata what a client has to know."""
    model, request = case
    side, groups = model.manifest.spec.input_px, model.manifest.groups
    (taken,) = session.get_inputs()
    logits, *maps = session.get_outputs()
    metadata = session.get_modelmeta().custom_metadata_map
    contract = json.loads(metadata["input"])

    types = {"uint8": "tensor(uint8)", "float": "tensor(float)"}
    assert (taken.name, taken.type) == ("pixels", types[request.input])
    assert taken.shape == ["batch", 3, side, side]
    assert (logits.name, logits.shape) == ("logits", ["batch", 3])
    assert [shown.name for shown in maps] == request.outputs[1:]
    assert [shown.shape[:2] for shown in maps] == [["batch", groups]] * 2
    assert json.loads(metadata["labels"]) == list(model.labels)
    assert metadata["model"] == "tiny/1"
    assert contract["range"] == ([0, 1] if request.input == "float" else [0, 255])
    assert (contract["size_px"], contract["channels"]) == (model.manifest.input.size_px, "RGB")


def test_the_model_stays_as_it_was(case: Case, session: Any) -> None:
    """Its own network is laid out and frozen by nobody."""
    model, _ = case

    assert model.network.conv1.weight.is_contiguous()
