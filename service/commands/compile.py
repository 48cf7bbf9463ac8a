"""`sge-serve compile`: build ahead what the service would otherwise build when it starts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from service.commands.contents import load_served
from service.config import Settings
from service.engines.aoti.engine import CompiledEngine
from service.engines.base import Engine
from service.engines.calibration import plan_with_pictures
from service.engines.plan import EnginePlan
from service.engines.tensorrt.engine import TensorRtEngine
from service.errors import BadSetting
from service.images.decode import silence_decoders
from service.logs import configure_logs
from service.serving.worker_thread import WorkerThread
from service.store.load import LoadedModel, load_store

EXIT_BROKEN_VERSION = 3  # 1 and 2 say that it did not do its work, for whatever cause

Say = Callable[[str], None]
Plan = Callable[[LoadedModel, Settings], EnginePlan]


def run(settings: Settings, say: Say, plan: Plan = plan_with_pictures) -> int:
    """Fill the cache folder with the engines of every model that would be served.

    Args:
        settings: what the operator decided.
        say: tells the person who started the command.
        plan: chooses the engines of a model; the final one is built.

    Returns:
        0 when all are built and kept, 1 when an engine could not be kept, and
        `EXIT_BROKEN_VERSION` when all were, but the store has a version that cannot be served.

    Raises:
        BadSetting: a setting cannot be met.
        EngineFailed: an engine cannot be built or loaded.
        StoreError: nothing would be served.
    """
    configure_logs(settings.log_level, settings.log_format)
    silence_decoders()
    contents = load_served(settings, say)
    engines = [(loaded, plan(loaded, settings).final) for loaded in contents.models]
    asyncio.run(_load_all(engines, say))
    lost = [
        loaded.key
        for loaded, engine in engines
        if isinstance(engine, CompiledEngine | TensorRtEngine) and not engine.is_built
    ]
    for key in lost:
        say(f"{key}: the engine could not be kept in {settings.cache_dir}")
    if lost:
        return 1
    return EXIT_BROKEN_VERSION if contents.broken else 0


def run_for_service(settings: Settings) -> int:
    """Compile into the cache folder and do nothing else: the service loads and measures by itself.

    Returns:
        0.

    Raises:
        BadSetting: a setting cannot be met, or the engine is not one that is compiled.
        EngineFailed: an engine cannot be compiled, or not be written.
        StoreError: a version is not there any more, or is broken.
    """
    configure_logs(settings.log_level, settings.log_format)
    silence_decoders()
    contents = load_store(settings.model_store, settings.models, model_name=settings.model_name)
    for version in contents.broken:
        raise version.error
    for loaded in contents.models:
        engine = plan_with_pictures(loaded, settings).final
        if not isinstance(engine, CompiledEngine | TensorRtEngine):
            raise BadSetting(f"SGE_ENGINE={settings.engine} is not compiled in the background")
        asyncio.run(_compile(engine))
    return 0


async def _load_all(engines: list[tuple[LoadedModel, Engine]], say: Say) -> None:
    builder = WorkerThread(lambda _: None, "builder")
    builder.start()
    for loaded, engine in engines:
        timed = await builder.run(engine.load)
        engine.close()
        seconds = timed.ended - timed.started
        say(f"{loaded.key}: {engine.description.name} engine ready after {seconds:.1f} s")
    await builder.stop()


async def _compile(engine: CompiledEngine | TensorRtEngine) -> None:
    builder = WorkerThread(lambda _: None, "builder")
    builder.start()
    await builder.run(engine.compile_into, engine.files)
    await builder.stop()
