"""The network that ships, as a bench of engines has it beside its own."""

from __future__ import annotations

from pathlib import Path

from service.store.load import list_versions, load_version
from tests.bench.entrants import Entrant, Runner
from tests.bench.networks import AS_WRITTEN, FORMS, FUSED, SHIPPED, shipped
from tests.bench.shipped import bench_of_shipped, shipped_entrants
from tests.bench.test_engines import bench

STORE = Path(__file__).parents[2] / "model_store"


def test_its_shapes_are_those_of_the_model_that_ships() -> None:
    """A version with others would make the ratio one of another network."""
    newest = list_versions(STORE / "fashion-mnist")[-1]

    assert load_version(newest).manifest.spec == SHIPPED
    assert bench_of_shipped(bench("cpu", ("fp32",))).spec == SHIPPED


def test_its_rows_are_named_apart() -> None:
    """Ours is the fused one, ONNX Runtime may have that, too; the rest is not compared."""

    def build() -> Runner:
        raise NotImplementedError

    everyone = (
        Entrant(engine, form, "fp32", build)
        for engine in ("eager", "compiled", "onnxruntime", "openvino")
        for form in FORMS
    )

    assert [str(entrant) for entrant in shipped_entrants(everyone)] == [
        f"compiled fp32, {shipped(FUSED)}",
        f"onnxruntime fp32, {shipped(AS_WRITTEN)}",
        f"onnxruntime fp32, {shipped(FUSED)}",
    ]
