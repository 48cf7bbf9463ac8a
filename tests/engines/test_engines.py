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
from tests.engine_builders import CPU, compiled, eager, needs_compiler, rows
from tests.fakes import BLOCK, FakeEngine
from tests.running import tiny_model

needs_cuda = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
ENGINES = [
    pytest.param("stub"),
    pytest.param("fake"),
    pytest.param("eager"),
    pytest.param("eager bf16"),
    pytest.param("compiled", marks=[pytest.mark.slow, needs_compiler]),
    pytest.param("eager cuda", marks=needs_cuda),
    pytest.param("compiled cuda", marks=needs_cuda),
]
BUILDERS: dict[str, Callable[[Path], Engine]] = {
    "stub": lambda _: StubEngine(tiny_model().manifest),
    "fake": lambda _: FakeEngine(),
    "eager": lambda _: eager(),
    "eager bf16": lambda _: eager("bf16"),
    "compiled": compiled,
    "eager cuda": lambda _: eager("fp16", "cuda"),
    "compiled cuda": lambda folder: compiled(folder, "fp16", "cuda"),
}
Loaded = Callable[[str], Engine]


@pytest.fixture(scope="module")
def loaded(engine_cache: Path) -> Loaded:
    """Gives an engine by its kind, loaded once for all tests, since compiling takes a while."""

    @functools.cache
    def load(kind: str) -> Engine:
        engine = BUILDERS[kind](engine_cache)
        engine.load()
        return engine

    return load


@pytest.mark.parametrize("kind", ENGINES)
def test_every_engine_keeps_the_contract(loaded: Loaded, kind: str) -> None:
    """Any batch gives one finite row of logits an image and at least the named blocks."""
    engine = loaded(kind)
    warm_up(engine, (3, 32, 32), frozenset({BLOCK}), max_batch=4)

    for size in (1, 2, 3, 4):
        plain = engine.infer(engine.collate(rows(*range(size))), frozenset())
        masked = engine.infer(engine.collate(rows(*range(size))), frozenset({BLOCK}))
        assert plain.logits.shape == masked.logits.shape
        assert len(plain.logits) == size
        assert plain.logits.dtype == np.float32
        assert np.isfinite(plain.logits).all()
        assert masked.similarities[BLOCK].shape[0] == size
        assert masked.similarities[BLOCK].dtype == np.float32


@pytest.mark.parametrize("kind", ENGINES[2:])
def test_nothing_crosses_the_batch(loaded: Loaded, kind: str) -> None:
    """An image's logits and masks do not depend on its batch-mates."""
    engine = loaded(kind)
    blocks = frozenset({BLOCK})

    together = engine.infer(engine.collate(rows(1, 2, 3)), blocks)
    alone = engine.infer(engine.collate(rows(2)), blocks)

    # Kernels are chosen by batch size and sum in another order; bf16 keeps 8 bits.
    tolerance = 1e-4 if engine.description.precision == "fp32" else 0.1
    np.testing.assert_allclose(together.logits[1], alone.logits[0], atol=tolerance)
    np.testing.assert_allclose(
        together.similarities[BLOCK][1], alone.similarities[BLOCK][0], atol=tolerance
    )


@needs_compiler
@pytest.mark.slow
def test_the_compiled_engine_computes_what_the_eager_one_does(loaded: Loaded) -> None:
    """Logits and every block's similarity agree, to rounding of float32."""
    reference, engine = loaded("eager"), loaded("compiled")
    every = frozenset(block.name for block in tiny_model().manifest.spec.blocks())

    expected = reference.infer(reference.collate(rows(1, 2, 3)), every)
    given = engine.infer(engine.collate(rows(1, 2, 3)), every)

    np.testing.assert_allclose(given.logits, expected.logits, rtol=1e-4, atol=1e-4)
    assert given.similarities.keys() == expected.similarities.keys() == every
    for name, similarity in expected.similarities.items():
        np.testing.assert_allclose(given.similarities[name], similarity, atol=1e-3)


def test_bf16_stays_close_to_fp32() -> None:
    """Scores in bf16 agree with fp32 within a few of its 8 bits."""
    exact, rough = eager("fp32"), eager("bf16")
    logits = []
    for engine in (exact, rough):
        engine.load()
        logits.append(engine.infer(engine.collate(rows(*range(8))), frozenset()).logits)

    np.testing.assert_allclose(logits[1], logits[0], atol=0.05 * np.abs(logits[0]).max())


def test_uniform_images_give_finite_numbers() -> None:
    """Where every position is alike the deviation is zero, in fp32 and in bf16."""
    flat = [np.full((3, 32, 32), value, np.uint8) for value in (0, 127, 255)]

    for precision in ("fp32", "bf16", "fp16"):
        engine = eager(precision)
        engine.load()
        outputs = engine.infer(engine.collate(flat), frozenset({BLOCK}))
        assert np.isfinite(outputs.logits).all()
        assert np.isfinite(outputs.similarities[BLOCK]).all()


def test_a_closed_engine_lets_go_of_the_weights() -> None:
    """After `close` the engine holds no graph, and using it is a mistake that is told."""
    engine = eager()
    engine.load()
    engine.close()

    with pytest.raises(RuntimeError, match="infer was called before load"):
        engine.infer(engine.collate(rows(1)), frozenset())


def test_the_bundle_is_not_changed_by_an_engine() -> None:
    """A half-precision engine leaves the store's float32 weights alone."""
    model = tiny_model()
    before = {name: value.clone() for name, value in model.network.state_dict().items()}

    EagerEngine(model, CPU, "bf16").load()

    after = model.network.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused() -> None:
    """Asking for CUDA by name is an error, `auto` takes the CPU."""
    with pytest.raises(BadSetting, match="SGE_DEVICE=cuda"):
        choose_device("cuda")

    assert choose_device("auto") == CPU


def test_a_precision_asked_for_is_taken() -> None:
    """Only `auto` looks at the machine."""
    assert choose_precision("bf16", CPU) == "bf16"
    assert choose_precision("auto", CPU) in {"fp32", "bf16"}
