"""The compiled engine's packages: kept, found again, and never taken for another."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from service.config import Settings
from service.engines.aoti.engine import CompiledEngine
from service.engines.artifact_cache import ArtifactCache
from service.engines.plan import plan_engines
from service.errors import EngineFailed, EngineLost
from service.store.manifest import Hashes
from tests.engine_builders import CPU, compiled, copying, infer, no_cuda, refuse, rows
from tests.engines.networks import short_model


def test_what_was_compiled_is_not_compiled_again(compiled_engine: CompiledEngine) -> None:
    """The next engine of the same model finds the package; it computes the same bits."""
    second = compiled(compiled_engine.files.folder.parent, build=refuse)

    assert second.is_built
    second.load()
    given, expected = (infer(engine, rows(1, 2)) for engine in (second, compiled_engine))
    np.testing.assert_array_equal(given.logits, expected.logits)


def test_a_build_that_leaves_nothing_is_told(tmp_path: Path) -> None:
    """As where the model was replaced since the service read it."""
    engine = compiled(tmp_path, build=lambda _: None)

    with pytest.raises(EngineFailed, match="has the model been changed"):
        engine.load()


def test_where_nothing_can_be_kept_the_engine_serves_this_time(
    compiled_engine: CompiledEngine, tmp_path: Path
) -> None:
    """The build goes to a folder that is gone afterwards; nothing is compiled in this process."""
    (tmp_path / "compiled").write_bytes(b"a file where the folder should be")
    seen: list[Path] = []

    def build(cache_dir: Path) -> None:
        seen.append(cache_dir)
        copying(compiled_engine)(cache_dir)

    engine = compiled(tmp_path, build=build)
    engine.load()

    given, expected = (infer(one, rows(1, 2)) for one in (engine, compiled_engine))
    np.testing.assert_array_equal(given.logits, expected.logits)
    assert tmp_path not in seen
    assert [path.exists() for path in seen] == [False]


@pytest.mark.parametrize(("max_batch", "sizes"), [(1, [1]), (2, [1, 2]), (16, [1, 2])])
def test_what_runs_before_the_first_reply(tmp_path: Path, max_batch: int, sizes: list[int]) -> None:
    """One image, which may have a program of its own, and several."""
    assert compiled(tmp_path).warm_up_sizes(max_batch) == sizes


def test_a_damaged_package_is_compiled_again(
    compiled_engine: CompiledEngine, tmp_path: Path
) -> None:
    """A file with one byte changed is not run."""
    content = bytearray((compiled_engine.files.folder / compiled_engine.key).read_bytes())
    content[len(content) // 2] ^= 1
    engine = compiled(tmp_path, build=refuse)
    engine.files.folder.mkdir()
    (engine.files.folder / engine.key).write_bytes(content)

    with pytest.raises(NotImplementedError):
        engine.load()


@no_cuda
def test_a_package_is_not_to_blame_for_a_lost_device(tmp_path: Path) -> None:
    """The loss is told, and a later start, on a device that works, loads the package."""
    engine = compiled(tmp_path, "fp16", "cuda", build=refuse)
    engine.key = "package"
    engine.files.write(engine.key, b"no package of AOTInductor")

    with pytest.raises(EngineLost):
        engine.load()

    assert engine.is_built
    assert not engine.files.holds(engine._unloadable)


def test_a_package_is_not_taken_for_another(tmp_path: Path) -> None:
    """Precision and weights are in its name; the model's own name is not."""
    model = short_model()
    hashes = Hashes(weights="1" * 64, labels="0" * 64)
    other, renamed = (
        dataclasses.replace(model, manifest=model.manifest.model_copy(update=changes))
        for changes in ({"sha256": hashes}, {"name": "renamed", "version": "2"})
    )
    key = compiled(tmp_path).key

    assert compiled(tmp_path, "bf16").key != key
    assert CompiledEngine(other, CPU, "fp32", max_batch=4, cache_dir=tmp_path).key != key
    assert CompiledEngine(renamed, CPU, "fp32", max_batch=8, cache_dir=tmp_path).key == key


def test_what_another_processor_has_compiled_is_never_loaded(tmp_path: Path) -> None:
    """Machines of several kinds share a folder, and each looks for what its own kind has built."""
    other, here = compiled(tmp_path), compiled(tmp_path)
    other.processor = {**torch.cpu.get_capabilities(), "avx512_f": "another"}
    other.files.write(other.key, b"code for the other one")

    assert other.is_built
    assert not here.is_built
    assert not here.load_kept()


def test_what_is_compiled_already_answers_first(compiled_engine: CompiledEngine) -> None:
    """With its package in the cache the compiled engine needs no other one to bridge the time."""
    folder = compiled_engine.files.folder.parent

    plan = plan_engines(
        short_model(), Settings(device="cpu", precision="fp32", max_batch=4, cache_dir=folder)
    )

    assert plan.final.description.name == "compiled"
    assert plan.load_kept is not None
    assert plan.load_kept()


def test_what_could_not_be_loaded_when_it_was_new_is_not_compiled_again(tmp_path: Path) -> None:
    """The next start says so at once, and names the file that keeps it from trying."""

    def build(cache_dir: Path) -> None:
        ArtifactCache(cache_dir / "compiled").write(engine.key, b"no program")

    engine = compiled(tmp_path, build=build)
    with pytest.raises(EngineFailed, match="what was compiled cannot be loaded here"):
        engine.load()
    later = compiled(tmp_path, build=refuse)

    with pytest.raises(EngineFailed, match=r"to try again, remove .*-unloadable"):
        later.load()
