"""The compiled engine's packages: kept, found again, and never taken for another."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from service.config import Settings
from service.engines.compiled import CompiledEngine
from service.engines.plan import plan_engines
from service.manifest import Hashes
from tests.engine_builders import CPU, compiled, needs_compiler, refuse, rows
from tests.running import tiny_bundle


@pytest.fixture(scope="module")
def loaded(engine_cache: Path) -> CompiledEngine:
    """An engine whose package is kept."""
    engine = compiled(engine_cache)
    engine.load()
    return engine


@needs_compiler
@pytest.mark.slow
def test_what_was_compiled_is_not_compiled_again(
    loaded: CompiledEngine, engine_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next engine of the same model finds the package; it computes the same bits."""
    monkeypatch.setattr("service.engines.compiled.build_package", refuse)

    second = compiled(engine_cache)

    assert second.is_built
    second.load()
    given, expected = (e.infer(e.stage(rows(1, 2)), frozenset()) for e in (second, loaded))
    np.testing.assert_array_equal(given.logits, expected.logits)


@needs_compiler
@pytest.mark.slow
def test_a_damaged_package_is_compiled_again(
    loaded: CompiledEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file with one byte changed is not run."""
    monkeypatch.setattr("service.engines.compiled.build_package", refuse)
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
    manifest = tiny_bundle().manifest.model_copy(update={"sha256": hashes})
    other = dataclasses.replace(tiny_bundle(), manifest=manifest)
    renamed = tiny_bundle("renamed", "2")
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
        tiny_bundle(), Settings(device="cpu", precision="fp32", max_batch=4, cache_dir=engine_cache)
    )

    assert plan.first is plan.final
    assert plan.final.description.name == "compiled"
