"""What every engine promises, and how they differ."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from service.engines.base import Engine, warm_up
from service.engines.device import choose_device, choose_precision
from service.engines.eager import EagerEngine
from service.engines.stub import StubEngine
from service.errors import BadSetting
from tests.engine_builders import (
    CPU,
    EXPLAINED,
    assert_close,
    assert_features_explain,
    compiled,
    eager,
    infer,
    no_cuda,
    rows,
)
from tests.engines.networks import BASIC, EVERY_BLOCK, short_model
from tests.fakes import FakeEngine

needs_cuda = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
ENGINES = [
    pytest.param("stub"),
    pytest.param("fake"),
    pytest.param("eager"),
    pytest.param("eager bf16"),
    pytest.param("compiled"),
    pytest.param("eager cuda", marks=needs_cuda),
    pytest.param("compiled cuda", marks=needs_cuda),
]
BUILDERS: dict[str, Callable[[Path], Engine]] = {
    "stub": lambda _: StubEngine(short_model().manifest),
    "fake": lambda _: FakeEngine(),
    "eager": lambda _: eager(),
    "eager bf16": lambda _: eager("bf16"),
    "eager cuda": lambda _: eager("fp16", "cuda"),
    "compiled cuda": lambda folder: compiled(folder, "fp16", "cuda"),
}
LAST = frozenset({BASIC.blocks()[-1].name})
Loaded = Callable[[str], Engine]


@pytest.fixture(scope="module")
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """Gives an engine by its kind, loaded once for all tests, since compiling takes a while."""

    @functools.cache
    def load(kind: str) -> Engine:
        if kind == "compiled":
            engine: Engine = request.getfixturevalue("compiled_engine")
            return engine
        engine = BUILDERS[kind](tmp_path_factory.mktemp("engines"))
        engine.load()
        return engine

    return load


@pytest.mark.parametrize("kind", ENGINES)
def test_every_engine_keeps_the_contract(loaded: Loaded, kind: str) -> None:
    """Any batch gives one finite row of logits an image and at least the named blocks."""
    engine = loaded(kind)
    warm_up(engine, (3, 32, 32), LAST, max_batch=4)

    for size in (1, 2, 3, 4):
        plain = infer(engine, rows(*range(size)), frozenset())
        masked = infer(engine, rows(*range(size)), LAST)
        (similarity,) = (masked.similarities[name] for name in LAST)
        assert plain.logits.shape == masked.logits.shape
        assert len(plain.logits) == size
        assert plain.logits.dtype == np.float32
        assert np.isfinite(plain.logits).all()
        assert similarity.shape[0] == size
        assert similarity.dtype == np.float32


@pytest.mark.parametrize("kind", ENGINES[2:])
def test_nothing_crosses_the_batch(loaded: Loaded, kind: str) -> None:
    """An image's logits and masks do not depend on its batch-mates."""
    engine = loaded(kind)

    together, alone = infer(engine, rows(1, 2, 3)), infer(engine, rows(2))

    # Kernels are chosen by batch size and sum in another order; bf16 keeps 8 bits.
    tolerance = 1e-4 if engine.description.precision == "fp32" else 0.1
    np.testing.assert_allclose(together.logits[1], alone.logits[0], atol=tolerance)
    for name, similarity in alone.similarities.items():
        np.testing.assert_allclose(together.similarities[name][1], similarity[0], atol=tolerance)


def test_the_compiled_engine_computes_what_the_eager_one_does(loaded: Loaded) -> None:
    """One image and several; with every mask."""
    for images in (rows(1), rows(1, 2, 3)):
        given = infer(loaded("compiled"), images)

        assert_close(given, infer(loaded("eager"), images))
        assert given.similarities.keys() == EVERY_BLOCK


@pytest.mark.parametrize("kind", ["eager", "eager bf16", "compiled"])
@pytest.mark.parametrize("count", [1, 3])
def test_features_explain_the_logits(loaded: Loaded, kind: str, count: int) -> None:
    """The evidence at the positions adds up to what was answered, of one image and of several."""
    outputs = infer(loaded(kind), rows(*range(count)), EXPLAINED)

    assert_features_explain(outputs, short_model())


@pytest.mark.parametrize("kind", ["stub", "eager", "eager bf16", "compiled"])
def test_features_come_in_their_groups_where_they_are_asked_for(loaded: Loaded, kind: str) -> None:
    """In float32 whatever the engine computes in, and not where nobody asked."""
    asked, plain = (infer(loaded(kind), rows(1, 2), names) for names in (EXPLAINED, LAST))

    assert asked.features is not None
    assert asked.features.shape == (2, *BASIC.features_shape)
    assert asked.features.dtype == np.float32
    assert plain.features is None


def test_bf16_stays_close_to_fp32(loaded: Loaded) -> None:
    """Scores in bf16 agree with fp32 within a few of its 8 bits."""
    exact, rough = (infer(loaded(kind), rows(*range(8))).logits for kind in ("eager", "eager bf16"))

    np.testing.assert_allclose(rough, exact, atol=0.05 * np.abs(exact).max())


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_uniform_images_give_finite_numbers(precision: str) -> None:
    """Where every position is alike the deviation is zero, whatever the precision."""
    flat = [np.full((3, 32, 32), value, np.uint8) for value in (0, 127, 255)]
    engine = eager(precision)
    engine.load()

    outputs = infer(engine, flat)

    assert np.isfinite(outputs.logits).all()
    assert all(np.isfinite(similarity).all() for similarity in outputs.similarities.values())


def test_a_closed_engine_lets_go_of_the_weights() -> None:
    """After `close` the engine holds no graph, and using it is a mistake that is told."""
    engine = eager()
    engine.load()
    engine.close()

    with pytest.raises(RuntimeError, match="infer was called before load"):
        infer(engine, rows(1))


def test_the_model_is_not_changed_by_an_engine() -> None:
    """A half-precision engine leaves the store's float32 weights alone."""
    model = short_model()
    before = {name: value.clone() for name, value in model.network.state_dict().items()}

    EagerEngine(model, CPU, "bf16").load()

    after = model.network.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


@no_cuda
def test_stacking_a_batch_needs_no_device() -> None:
    """A lost device is met on its own thread, where the loss is told, and not before."""
    batch = eager(device="cuda").collate(rows(1, 2))

    assert (batch.shape, batch.device) == ((2, 3, 32, 32), CPU)


@no_cuda
def test_a_device_that_is_not_there_is_refused() -> None:
    """Asking for CUDA by name is an error, `auto` takes the CPU."""
    with pytest.raises(BadSetting, match="SGE_DEVICE=cuda"):
        choose_device("cuda")

    assert choose_device("auto") == CPU


def test_a_precision_asked_for_is_taken() -> None:
    """Only `auto` looks at the machine."""
    assert choose_precision("bf16", CPU) == "bf16"
    assert choose_precision("auto", CPU) in {"fp32", "bf16"}
