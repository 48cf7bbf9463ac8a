"""What every engine promises, and what sets each apart."""

from __future__ import annotations

import dataclasses
import functools
import shutil
import sysconfig
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from service.config import Settings
from service.engines.base import Engine, warm_up
from service.engines.compiled import CompiledEngine, fastest_piece
from service.engines.device import choose_device, choose_precision
from service.engines.eager import EagerEngine
from service.engines.plan import plan_engines
from service.engines.programs import Program
from service.engines.stub import StubEngine
from service.errors import BadSetting
from service.manifest import Hashes
from tests.fakes import BLOCK, FakeEngine
from tests.running import noise, tiny_bundle

CPU = torch.device("cpu")
CLASSES = 3

PYTHON_HEADER = Path(sysconfig.get_path("include")) / "Python.h"
needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None or not PYTHON_HEADER.exists(),
    reason="torch.compile needs a C++ compiler and Python's headers on a CPU",
)
needs_cuda = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def eager(precision: str = "fp32", device: str = "cpu") -> EagerEngine:
    """The tiny network on the eager engine."""
    return EagerEngine(tiny_bundle(), torch.device(device), precision)


def compiled(cache_dir: Path, precision: str = "fp32", device: str = "cpu") -> CompiledEngine:
    """The tiny network on the compiled engine."""
    return CompiledEngine(
        tiny_bundle(), torch.device(device), precision, max_batch=4, cache_dir=cache_dir
    )


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
    "stub": lambda _: StubEngine(tiny_bundle().manifest),
    "fake": lambda _: FakeEngine(),
    "eager": lambda _: eager(),
    "eager bf16": lambda _: eager("bf16"),
    "compiled": compiled,
    "eager cuda": lambda _: eager("fp16", "cuda"),
    "compiled cuda": lambda folder: compiled(folder, "fp16", "cuda"),
}
Loaded = Callable[[str], Engine]


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the module's engines are kept."""
    return tmp_path_factory.mktemp("engines")


@pytest.fixture(scope="module")
def loaded(cache_dir: Path) -> Loaded:
    """Gives an engine by its kind, loaded once for all tests, since compiling takes a while."""

    @functools.cache
    def load(kind: str) -> Engine:
        engine = BUILDERS[kind](cache_dir)
        engine.load()
        return engine

    return load


def rows(*seeds: int) -> list[np.ndarray]:
    """Pixels (3, 32, 32) uint8 of noise, one a seed."""
    return [noise(seed).transpose(2, 0, 1).copy() for seed in seeds]


@pytest.mark.parametrize("kind", ENGINES)
def test_every_engine_keeps_the_contract(loaded: Loaded, kind: str) -> None:
    """Any batch gives one finite row of logits an image and at least the asked blocks."""
    engine = loaded(kind)
    warm_up(engine, (3, 32, 32), frozenset({BLOCK}), max_batch=4)

    for size in (1, 2, 3, 4):
        plain = engine.infer(engine.stage(rows(*range(size))), frozenset())
        masked = engine.infer(engine.stage(rows(*range(size))), frozenset({BLOCK}))
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
    asked = frozenset({BLOCK})

    together = engine.infer(engine.stage(rows(1, 2, 3)), asked)
    alone = engine.infer(engine.stage(rows(2)), asked)

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
    every = frozenset(block.name for block in tiny_bundle().manifest.spec.blocks())

    expected = reference.infer(reference.stage(rows(1, 2, 3)), every)
    given = engine.infer(engine.stage(rows(1, 2, 3)), every)

    np.testing.assert_allclose(given.logits, expected.logits, rtol=1e-4, atol=1e-4)
    assert given.similarities.keys() == expected.similarities.keys() == every
    for name, similarity in expected.similarities.items():
        np.testing.assert_allclose(given.similarities[name], similarity, atol=1e-3)


@needs_compiler
@pytest.mark.slow
def test_what_was_compiled_is_not_compiled_again(
    loaded: Loaded, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next engine of the same model finds the package; it computes the same bits."""
    first = loaded("compiled")
    monkeypatch.setattr("service.engines.compiled.build_package", refuse)

    second = compiled(cache_dir)

    assert second.is_built
    second.load()
    given, expected = (e.infer(e.stage(rows(1, 2)), frozenset()) for e in (second, first))
    np.testing.assert_array_equal(given.logits, expected.logits)


@needs_compiler
@pytest.mark.slow
def test_what_differs_or_is_damaged_is_compiled_again(
    loaded: Loaded, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another precision or model, and a file with one byte changed, are not used."""
    loaded("compiled")
    monkeypatch.setattr("service.engines.compiled.build_package", refuse)
    engine = compiled(cache_dir)
    other_hashes = Hashes(weights="1" * 64, labels="0" * 64)
    other_manifest = tiny_bundle().manifest.model_copy(update={"sha256": other_hashes})
    other_model = dataclasses.replace(tiny_bundle(), manifest=other_manifest)
    assert not compiled(cache_dir, "bf16").is_built
    assert not CompiledEngine(other_model, CPU, "fp32", max_batch=4, cache_dir=cache_dir).is_built
    package = engine.files.folder / engine.key
    content = bytearray(package.read_bytes())
    content[len(content) // 2] ^= 1
    try:
        package.write_bytes(content)
        assert not engine.is_built
        with pytest.raises(NotImplementedError):
            engine.load()
    finally:
        content[len(content) // 2] ^= 1
        package.write_bytes(content)


def refuse(*_: object) -> None:
    """Stands where a compiler would begin its work."""
    raise NotImplementedError


def timed_program(seconds: Mapping[int, float], clock: list[float]) -> Program:
    """A program that takes so long for a piece of each size, on a clock of its own."""

    def run(inputs: list[torch.Tensor]) -> list[torch.Tensor]:
        clock[0] += seconds[len(inputs[0])]
        return [inputs[0]]

    return run


@pytest.mark.parametrize(
    ("seconds", "piece"),
    [
        ({1: 1.0, 2: 2.0, 4: 4.0, 6: 6.0}, 6),  # nothing gained: the batch stays whole
        ({1: 1.0, 2: 1.8, 4: 4.0, 6: 6.0}, 2),
        ({1: 1.0, 2: 1.98, 4: 4.0, 6: 6.0}, 6),  # too little gained
        ({1: 3.0, 2: 3.0, 4: 4.0, 6: 6.0}, 6),  # what is left of a batch counts: 4 and 2
    ],
)
def test_a_batch_is_cut_where_that_is_clearly_faster(
    seconds: Mapping[int, float], piece: int
) -> None:
    """Measured on the largest batch, all pieces and what is left included."""
    clock = [0.0]
    program = timed_program(seconds, clock)

    assert fastest_piece(program, torch.zeros(6, 1), lambda: clock[0]) == piece


def test_bf16_stays_close_to_fp32() -> None:
    """Scores in bf16 agree with fp32 within a few of its 8 bits."""
    exact, rough = eager("fp32"), eager("bf16")
    logits = []
    for engine in (exact, rough):
        engine.load()
        logits.append(engine.infer(engine.stage(rows(*range(8))), frozenset()).logits)

    np.testing.assert_allclose(logits[1], logits[0], atol=0.05 * np.abs(logits[0]).max())


def test_uniform_images_give_finite_numbers() -> None:
    """Where every position is alike the deviation is zero, in fp32 and in bf16."""
    flat = [np.full((3, 32, 32), value, np.uint8) for value in (0, 127, 255)]

    for precision in ("fp32", "bf16", "fp16"):
        engine = eager(precision)
        engine.load()
        outputs = engine.infer(engine.stage(flat), frozenset({BLOCK}))
        assert np.isfinite(outputs.logits).all()
        assert np.isfinite(outputs.similarities[BLOCK]).all()


def test_a_closed_engine_lets_go_of_the_weights() -> None:
    """After `close` the engine holds no graph, and using it is a mistake that is told."""
    engine = eager()
    engine.load()
    engine.close()

    with pytest.raises(RuntimeError, match="infer was called before load"):
        engine.infer(engine.stage(rows(1)), frozenset())


def test_the_bundle_is_not_changed_by_an_engine() -> None:
    """A half-precision engine leaves the store's float32 weights alone."""
    bundle = tiny_bundle()
    before = {name: value.clone() for name, value in bundle.network.state_dict().items()}

    EagerEngine(bundle, CPU, "bf16").load()

    after = bundle.network.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


@pytest.mark.parametrize(
    ("settings", "first", "final"),
    [
        ({"engine": "stub"}, "stub", "stub"),
        ({"engine": "eager"}, "eager", "eager"),
        ({"engine": "auto"}, "eager", "compiled"),
        ({"engine": "compiled", "tiered": False}, "compiled", "compiled"),
    ],
)
def test_the_settings_choose_the_engines(
    settings: dict[str, object], first: str, final: str, tmp_path: Path
) -> None:
    """Tiered or not, by name or by `auto`; nothing has been compiled before."""
    given = Settings(device="cpu", cache_dir=tmp_path, **settings)  # type: ignore[arg-type]

    plan = plan_engines(tiny_bundle(), given)

    assert (plan.first.description.name, plan.final.description.name) == (first, final)
    assert (plan.first is plan.final) == (first == final)


@needs_compiler
@pytest.mark.slow
def test_what_is_compiled_already_answers_first(loaded: Loaded, cache_dir: Path) -> None:
    """With its package in the cache the compiled engine needs no other one to bridge the time."""
    loaded("compiled")

    plan = plan_engines(
        tiny_bundle(), Settings(device="cpu", precision="fp32", max_batch=4, cache_dir=cache_dir)
    )

    assert plan.first is plan.final
    assert plan.final.description.name == "compiled"


def test_only_auto_may_fall_back(tmp_path: Path) -> None:
    """An engine asked for by name is not replaced by another."""
    auto, by_name = (
        plan_engines(tiny_bundle(), Settings(device="cpu", cache_dir=tmp_path, engine=engine))
        for engine in ("auto", "compiled")
    )

    assert (auto.may_fall_back, by_name.may_fall_back) == (True, False)


def test_tensorrt_is_refused_where_it_cannot_run() -> None:
    """Asked for by name on a CPU it is a wrong setting, told before anything is loaded."""
    with pytest.raises(BadSetting, match="SGE_ENGINE=tensorrt needs a CUDA device"):
        plan_engines(tiny_bundle(), Settings(device="cpu", engine="tensorrt"))


def test_on_a_gpu_auto_is_tensorrt_where_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compiled engine is the next choice; without TensorRT it is the first."""
    monkeypatch.setattr("service.engines.plan.choose_device", lambda _: torch.device("cuda"))
    monkeypatch.setattr("service.engines.plan.choose_precision", lambda *_: "bf16")
    settings = Settings(cache_dir=tmp_path, tiered=True)
    names = []
    for is_installed in (True, False):
        monkeypatch.setattr("service.engines.plan.tensorrt_is_installed", lambda i=is_installed: i)
        monkeypatch.setattr(CompiledEngine, "is_built", False)
        plan = plan_engines(tiny_bundle(), settings)
        names.append([e.description.name for e in (plan.first, plan.final, *plan.others)])

    assert names == [["eager", "tensorrt", "compiled"], ["eager", "compiled"]]


def test_the_first_engine_of_a_cpu_computes_in_fp32() -> None:
    """Eager bf16 is slower than fp32 there, so the quick engine does without it."""
    plan = plan_engines(tiny_bundle(), Settings(device="cpu", precision="bf16"))

    assert plan.first.description.precision == "fp32"
    assert plan.final.description.precision == "bf16"


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
