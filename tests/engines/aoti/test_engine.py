"""The compiled engine's packages: kept, found again, and never taken for another."""

from __future__ import annotations

import dataclasses
import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from service.config import Settings
from service.engines.aoti.engine import CompiledEngine
from service.engines.aoti.microbatch import MicroBatches
from service.engines.aoti.package import copied
from service.engines.artifact_cache import ArtifactCache
from service.engines.background_build import BackgroundBuild
from service.engines.eager import EagerEngine
from service.engines.plan import plan_engines
from service.errors import EngineFailed
from service.store.load import load_version
from service.store.manifest import Hashes
from service.store.write import write_version
from tests.engine_builders import CPU, compiled, needs_compiler, refuse, rows
from tests.running import tiny_model
from tests.store_fixtures import new_tiny_version

pytestmark = pytest.mark.timeout(300)  # whichever test comes first waits for the compiler


@pytest.fixture(scope="module")
def background(engine_cache: Path) -> CompiledEngine:
    """An engine that another process has compiled, which found the model in a store."""
    store = engine_cache / "store"
    model = load_version(write_version(store, new_tiny_version()))
    settings = Settings(device="cpu", precision="fp32", max_batch=4, model_store=store)
    build = BackgroundBuild(settings, "compiled", model.key)
    engine = CompiledEngine(model, CPU, "fp32", max_batch=4, cache_dir=engine_cache, build=build)
    engine.load()
    return engine


@pytest.fixture(scope="module")
def loaded(background: CompiledEngine, engine_cache: Path) -> CompiledEngine:
    """An engine of the same network in memory, whose package is kept for other test files, too."""
    engine = compiled(engine_cache)
    shutil.copy(background.files.folder / background.key, engine.files.folder / engine.key)
    engine.load()
    return engine


@needs_compiler
@pytest.mark.slow
def test_what_another_process_compiles_computes_what_the_eager_engine_does(
    background: CompiledEngine,
) -> None:
    """One image, which has programs of its own, and several; with every mask."""
    reference = EagerEngine(background.model, CPU, "fp32")
    reference.load()
    every = frozenset(block.name for block in background.model.manifest.spec.blocks())

    for images in (rows(1), rows(1, 2, 3)):
        given, expected = (e.infer(e.collate(images), every) for e in (background, reference))
        np.testing.assert_allclose(given.logits, expected.logits, rtol=1e-4, atol=1e-4)
        for name, similarity in expected.similarities.items():
            np.testing.assert_allclose(given.similarities[name], similarity, atol=1e-3)


@needs_compiler
@pytest.mark.slow
def test_what_was_compiled_is_not_compiled_again(
    loaded: CompiledEngine, engine_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next engine of the same model finds the package; it computes the same bits."""
    monkeypatch.setattr("service.engines.aoti.engine.build_package", refuse)

    second = compiled(engine_cache)

    assert second.is_built
    second.load()
    given, expected = (e.infer(e.collate(rows(1, 2)), frozenset()) for e in (second, loaded))
    np.testing.assert_array_equal(given.logits, expected.logits)


def test_a_build_that_leaves_nothing_is_told(tmp_path: Path) -> None:
    """As where the model was replaced since the service read it."""
    engine = compiled(tmp_path, build=lambda _: None)

    with pytest.raises(EngineFailed, match="has the model been changed"):
        engine.load()


@needs_compiler
@pytest.mark.slow
def test_where_nothing_can_be_kept_the_engine_serves_this_time(
    loaded: CompiledEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The build goes to a folder that is gone afterwards; nothing is compiled in this process."""
    monkeypatch.setattr("service.engines.aoti.engine.build_package", refuse)
    (tmp_path / "compiled").write_bytes(b"a file where the folder should be")
    seen: list[Path] = []

    def build(cache_dir: Path) -> None:
        seen.append(cache_dir)
        shutil.copytree(loaded.files.folder, cache_dir / "compiled")

    engine = compiled(tmp_path, build=build)
    engine.load()

    given, expected = (e.infer(e.collate(rows(1, 2)), frozenset()) for e in (engine, loaded))
    np.testing.assert_array_equal(given.logits, expected.logits)
    assert tmp_path not in seen
    assert [path.exists() for path in seen] == [False]


def test_torchs_own_loader_gets_a_package_alone(tmp_path: Path) -> None:
    """Without the digest in front, by a path, for as long as it is asked for."""
    files = ArtifactCache(tmp_path)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("a", "program")
    files.write("package", content.getvalue())
    package = files.open("package")
    assert package is not None

    with package, copied(package) as path:
        assert path.read_bytes() == content.getvalue()

    assert not path.exists()


@pytest.mark.parametrize(
    ("micro_batches", "max_batch", "sizes"),
    [
        (MicroBatches(2, 8), 16, [1, 8]),
        (MicroBatches(16, 4), 16, [1, 16]),
        (MicroBatches(1, 1), 4, [1]),
    ],
)
def test_what_runs_before_the_first_reply(
    tmp_path: Path, micro_batches: MicroBatches, max_batch: int, sizes: list[int]
) -> None:
    """One image and the largest micro-batch, since larger batches are made of those."""
    engine = compiled(tmp_path)
    engine.micro_batches = micro_batches

    assert engine.warm_up_sizes(max_batch) == sizes


@needs_compiler
@pytest.mark.slow
def test_a_damaged_package_is_compiled_again(
    loaded: CompiledEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file with one byte changed is not run."""
    monkeypatch.setattr("service.engines.aoti.engine.build_package", refuse)
    content = bytearray((loaded.files.folder / loaded.key).read_bytes())
    content[len(content) // 2] ^= 1
    engine = compiled(tmp_path)
    engine.files.folder.mkdir()
    (engine.files.folder / engine.key).write_bytes(content)

    with pytest.raises(NotImplementedError):
        engine.load()


def test_a_package_is_not_taken_for_another(tmp_path: Path) -> None:
    """Precision and weights are in its name; the model's own name is not."""
    hashes = Hashes(weights="1" * 64, labels="0" * 64)
    manifest = tiny_model().manifest.model_copy(update={"sha256": hashes})
    other = dataclasses.replace(tiny_model(), manifest=manifest)
    renamed = tiny_model("renamed", "2")
    key = compiled(tmp_path).key

    assert compiled(tmp_path, "bf16").key != key
    assert CompiledEngine(other, CPU, "fp32", max_batch=4, cache_dir=tmp_path).key != key
    assert CompiledEngine(renamed, CPU, "fp32", max_batch=8, cache_dir=tmp_path).key == key


@needs_compiler
@pytest.mark.slow
@pytest.mark.usefixtures("loaded")
def test_what_is_compiled_already_answers_first(engine_cache: Path) -> None:
    """With its package in the cache the compiled engine needs no other one to bridge the time."""
    plan = plan_engines(
        tiny_model(), Settings(device="cpu", precision="fp32", max_batch=4, cache_dir=engine_cache)
    )

    assert plan.first is plan.final
    assert plan.final.description.name == "compiled"
