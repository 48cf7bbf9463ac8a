"""`sge-serve compile`: which engines it builds, and what it says of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from service.commands.compile import EXIT_BROKEN_VERSION, run, run_for_service
from service.config import Settings
from service.engines.aoti.engine import CompiledEngine
from service.engines.plan import EnginePlan
from service.errors import StoreError
from service.store.load import LoadedModel
from service.store.write import write_version
from tests.engine_builders import compiled, copying
from tests.engines.tensorrt.stand_in import StandIn, engine_on
from tests.store_fixtures import new_tiny_version, overwrite

NAMES = ("other", "tiny")
Plan = Callable[[LoadedModel, Settings], EnginePlan]


@pytest.fixture
def plan(compiled_engine: CompiledEngine) -> Plan:
    """Gives each model a cache folder of its own, and an engine that is built in a moment."""

    def plan_engine(loaded: LoadedModel, settings: Settings) -> EnginePlan:
        folder = settings.cache_dir / loaded.manifest.name
        engine = compiled(folder, build=copying(compiled_engine))
        return EnginePlan(engine, engine)

    return plan_engine


def settings_in(folder: Path) -> Settings:
    """The settings of a service that keeps everything in one folder."""
    return Settings(model_store=folder / "store", cache_dir=folder / "cache")


def test_every_model_that_would_be_served_is_built(
    plan: Plan, compiled_engine: CompiledEngine, store: Path, tmp_path: Path
) -> None:
    """Each model's final engine is loaded once, and what it kept is where the settings say."""
    write_version(store, new_tiny_version(name="other"))
    said: list[str] = []

    code = run(settings_in(tmp_path), said.append, plan)

    kept = sorted((tmp_path / "cache").rglob(compiled_engine.key))
    assert code == 0
    assert kept == [tmp_path / "cache" / name / "compiled" / compiled_engine.key for name in NAMES]
    assert [line.partition(" after ")[0] for line in said] == [
        f"{name}/1: compiled engine ready" for name in NAMES
    ]


def plan_tensorrt(_: LoadedModel, settings: Settings) -> EnginePlan:
    """TensorRT with a stand-in for its library."""
    engine = engine_on(StandIn(), settings.cache_dir)
    return EnginePlan(engine, engine)


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("name", ["compiled", "tensorrt"])
def test_an_engine_that_cannot_be_kept_is_told(plan: Plan, tmp_path: Path, name: str) -> None:
    """By its model and the folder, with exit code 1: the next start would build it again."""
    (tmp_path / "cache").write_bytes(b"a file where the folder should be")
    said: list[str] = []

    code = run(
        settings_in(tmp_path), said.append, {"compiled": plan, "tensorrt": plan_tensorrt}[name]
    )

    assert code == 1
    assert said[-1] == f"tiny/1: the engine could not be kept in {tmp_path / 'cache'}"


def test_a_broken_version_is_told_apart_from_an_engine_that_is_not_kept(
    plan: Plan, store: Path, tmp_path: Path
) -> None:
    """By exit code 3 where what can be served is built and kept; with an engine lost it is 1."""
    write_version(store, new_tiny_version(name="other"))
    overwrite(store / "other" / "1" / "labels.txt", b"others\n")
    settings = settings_in(tmp_path)
    unwritable = settings.model_copy(update={"cache_dir": tmp_path / "file"})
    (tmp_path / "file").write_bytes(b"a file where the folder should be")
    said: list[str] = []

    codes = [run(each, said.append, plan) for each in (settings, unwritable)]

    assert codes == [EXIT_BROKEN_VERSION, 1] == [3, 1]
    assert [line.partition(": ")[0] for line in said if line.startswith("not served")] == [
        "not served"
    ] * 2


def test_a_version_that_became_broken_since_the_service_read_it_is_the_reason(
    store: Path, tmp_path: Path
) -> None:
    """Not that nothing could be served."""
    overwrite(store / "tiny" / "1" / "labels.txt", b"others\n")

    with pytest.raises(StoreError, match=r"labels\.txt"):
        run_for_service(settings_in(tmp_path))
