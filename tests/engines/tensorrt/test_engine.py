"""The TensorRT engine: its own part with a stand-in for the library, its calls by the record."""

from __future__ import annotations

import shutil
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from service.engines.driver import tensorrt_is_installed
from service.engines.tensorrt.engine import (
    Library,
    TensorRtEngine,
    import_library,
)
from service.errors import EngineFailed
from tests.engine_builders import (
    EXPLAINED,
    assert_close,
    assert_features_explain,
    eager,
    infer,
    rows,
)
from tests.engines.networks import BASIC, EVERY_BLOCK, short_model
from tests.engines.tensorrt.calls import LIBRARY, LibraryCall, calls_of
from tests.engines.tensorrt.conversion import record
from tests.engines.tensorrt.stand_in import MAX_BATCH, StandIn, engine_on

BLOCKS = tuple(block.name for block in BASIC.blocks())


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> tuple[StandIn, TensorRtEngine, Path]:
    """An engine that was started on an empty cache, with its library and that cache."""
    cache_dir = tmp_path_factory.mktemp("cache")
    stand_in = StandIn()
    engine = engine_on(stand_in, cache_dir)
    engine.load()
    return stand_in, engine, cache_dir


@pytest.mark.parametrize(
    "blocks", [(), BLOCKS[-1:], BLOCKS[:1], BLOCKS], ids=["none", "last", "first", "all"]
)
@pytest.mark.parametrize("count", [1, 3, MAX_BATCH])
def test_the_engine_computes_what_the_eager_one_does(
    started: tuple[StandIn, TensorRtEngine, Path], count: int, blocks: tuple[str, ...]
) -> None:
    """Logits and the similarity of every block agree, in any batch up to the largest."""
    _, engine, _ = started
    reference = eager()
    reference.load()

    expected = infer(reference, rows(*range(count)), frozenset(blocks))

    assert_close(infer(engine, rows(*range(count)), frozenset(blocks)), expected)


@pytest.mark.parametrize("blocks", [(), BLOCKS[:1]], ids=["with last", "with all"])
def test_features_explain_the_logits(
    started: tuple[StandIn, TensorRtEngine, Path], blocks: tuple[str, ...]
) -> None:
    """Of either engine; where nobody asks for them they stay on the device."""
    _, engine, _ = started

    outputs = infer(engine, rows(1, 2), EXPLAINED | {*blocks})

    assert_features_explain(outputs, short_model())
    assert infer(engine, rows(1, 2), frozenset(blocks)).features is None


def test_a_start_builds_for_every_batch_up_to_the_largest(
    started: tuple[StandIn, TensorRtEngine, Path],
) -> None:
    """Two engines are built, for 1 to 4 images, and the second build knows the first's timings."""
    stand_in, _, _ = started

    profile = {
        "min_shape": (1, 3, 32, 32),
        "opt_shape": (MAX_BATCH, 3, 32, 32),
        "max_shape": (MAX_BATCH, 3, 32, 32),
        "dtype": torch.float32,
    }
    assert stand_in.profiles == [profile, profile]
    assert stand_in.timings_found == [None, b"timings"]


def test_a_second_start_builds_nothing(started: tuple[StandIn, TensorRtEngine, Path]) -> None:
    """What the first start built is taken from the cache, and closing lets go of it."""
    stand_in, _, cache_dir = started
    engine = engine_on(stand_in, cache_dir)

    is_built = engine.is_built
    engine.load()

    assert is_built
    assert infer(engine, rows(1)).similarities.keys() == EVERY_BLOCK
    assert len(stand_in.programs) == 2
    engine.close()
    with pytest.raises(RuntimeError, match="infer was called before load"):
        infer(engine, rows(1))


def test_what_another_process_has_built_is_taken(
    started: tuple[StandIn, TensorRtEngine, Path], tmp_path: Path
) -> None:
    """This one builds nothing: the service answers meanwhile."""
    stand_in, _, cache_dir = started
    asked: list[Path] = []

    def build(folder: Path) -> None:
        asked.append(folder)
        shutil.copytree(cache_dir, folder, dirs_exist_ok=True)

    engine = engine_on(stand_in, tmp_path, build=build)
    engine.load()

    assert asked == [tmp_path]
    assert infer(engine, rows(1)).similarities.keys() == EVERY_BLOCK
    assert len(stand_in.programs) == 2


def test_a_build_that_leaves_nothing_is_told(tmp_path: Path) -> None:
    """As where the model was replaced since the service read it."""
    engine = engine_on(StandIn(), tmp_path, build=lambda _: None)

    with pytest.raises(EngineFailed, match="has the model been changed"):
        engine.load()


@pytest.mark.slow
def test_where_nothing_can_be_kept_the_engine_serves_this_time(tmp_path: Path) -> None:
    """Both engines are built in a folder that is gone afterwards."""
    (tmp_path / "tensorrt").write_bytes(b"a file where the folder should be")
    engine = engine_on(StandIn(), tmp_path)

    engine.load()

    assert infer(engine, rows(1)).similarities.keys() == EVERY_BLOCK
    assert not engine.is_built


def test_engines_that_a_gpu_has_no_memory_for_are_not_loaded(
    started: tuple[StandIn, TensorRtEngine, Path],
) -> None:
    """Both are asked for at once, by the bytes of what was built."""
    stand_in, _, cache_dir = started
    engine = engine_on(stand_in, cache_dir)

    def refuse(needed_bytes: int) -> None:
        raise EngineFailed(f"{needed_bytes} bytes are too many")

    engine.require_memory = refuse  # type: ignore[method-assign]

    with pytest.raises(EngineFailed, match=r"^2 bytes are too many$"):  # "0" and "1"
        engine.load()

    assert engine.with_last is None


@pytest.mark.slow
def test_only_what_is_damaged_is_built_again(tmp_path: Path) -> None:
    """The other engine is taken as it is."""
    stand_in = StandIn()
    engine = engine_on(stand_in, tmp_path)
    engine.load()
    last, _ = (
        engine.files.folder / engine._file_of(engine.library(), blocks)
        for blocks in engine.variants
    )
    last.write_bytes(b"damaged")

    engine.load()

    assert len(stand_in.programs) == 3
    assert infer(engine, rows(1)).similarities.keys() == EVERY_BLOCK


def with_weights(digest: str) -> Any:
    """The short model with other weights, by what its manifest says of them."""
    model = short_model()
    hashes = model.manifest.sha256.model_copy(update={"weights": digest})
    return replace(model, manifest=model.manifest.model_copy(update={"sha256": hashes}))


@pytest.mark.parametrize(
    "changes",
    [
        {"model": with_weights("1" * 64)},
        {"precision": "fp16"},
        {"max_batch": MAX_BATCH + 1},
        {"library": lambda: Library(StandIn(), "1.1")},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_an_engine_is_not_taken_for_another(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Weights, precision, batch and versions are in the name of a built engine's file."""
    stand_in = StandIn()
    engine, other = engine_on(stand_in, tmp_path), engine_on(stand_in, tmp_path, **changes)

    name = engine._identity(engine.library(), BLOCKS)

    assert other._identity(other.library(), BLOCKS) != name
    assert engine._identity(engine.library(), BLOCKS[-1:]) != name
    assert engine_on(stand_in, tmp_path)._identity(engine.library(), BLOCKS) == name


@pytest.mark.skipif(tensorrt_is_installed(), reason="TensorRT is installed")
def test_the_absence_of_the_library_is_told() -> None:
    """Whoever asks for the engine by name reads what to install."""
    with pytest.raises(RuntimeError, match=r"pip install 'sge-serve\[tensorrt\]'"):
        import_library()


@pytest.mark.parametrize("call", calls_of(LIBRARY), ids=lambda call: call.name)
def test_the_library_takes_the_call(call: LibraryCall) -> None:
    """Every argument has its place in the signature of the pinned version, and none is missing."""
    signature = record()["signatures"][call.name]

    by_position = signature["positional"][: call.positional]
    assert len(by_position) == call.positional
    assert {*call.keywords} <= {*signature["keywords"]} - {*by_position}
    assert {*signature["required"]} <= {*by_position, *call.keywords}


def test_the_record_is_of_the_pinned_version() -> None:
    """What was read from the source is what the extra installs, and it fits this torch."""
    pyproject = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    extra = pyproject["project"]["optional-dependencies"]["tensorrt"]
    torch_version = Version(torch.__version__).base_version

    assert extra == [f"torch-tensorrt=={record()['version']}"]
    assert SpecifierSet(record()["torch"]).contains(torch_version)
    assert {call.name for call in calls_of(LIBRARY)} == record()["signatures"].keys()


@pytest.mark.gpu
@pytest.mark.skipif(
    not (tensorrt_is_installed() and torch.cuda.is_available()),
    reason="TensorRT is not installed, or there is no CUDA device",
)
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 5e-3), ("fp16", 0.05)])
def test_tensorrt_computes_what_the_eager_engine_does(
    tmp_path: Path, precision: str, tolerance: float
) -> None:
    """On a GPU, built and then taken from the cache, logits and similarities agree."""
    device = torch.device("cuda")
    reference = eager(precision, "cuda")
    reference.load()
    expected = infer(reference, rows(0, 1, 2))

    for _ in range(2):
        engine = TensorRtEngine(
            short_model(), device, precision, max_batch=MAX_BATCH, cache_dir=tmp_path
        )
        engine.load()
        given = infer(engine, rows(0, 1, 2))
        # Of the largest number: fp16 keeps 11 bits, as cuDNN's TF32 does in the eager engine.
        scale = np.abs(expected.logits).max()
        np.testing.assert_allclose(given.logits, expected.logits, atol=tolerance * scale)
        for name, similarity in expected.similarities.items():
            np.testing.assert_allclose(given.similarities[name], similarity, atol=4 * tolerance)
        engine.close()
