"""`sge-serve compile`: build ahead what the service would otherwise build when it starts."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable

from service.calibration import plan_with_pictures
from service.commands.contents import load_contents
from service.config import Settings
from service.device_thread import DeviceThread
from service.engines.base import Engine
from service.engines.compiled import CompiledEngine
from service.logs import configure_logs
from service.store import Bundle

Say = Callable[[str], None]

NICENESS = 5  # a third of a share of the processor: under full load it still gets done


def run(settings: Settings, say: Say) -> int:
    """Fill the cache folder with the engines of every model that would be served.

    Returns:
        0 when all are built and kept, 1 when an engine could not be kept or the store has a version
        that cannot be served.

    Raises:
        BadSetting: a setting cannot be met.
        EngineFailed: an engine cannot be built or loaded.
        StoreError: nothing would be served.
    """
    configure_logs(settings.log_level, settings.log_format)
    contents = load_contents(settings, say)
    engines = [(bundle, plan_with_pictures(bundle, settings).final) for bundle in contents.bundles]
    asyncio.run(_load_all(engines, say))
    lost = [
        bundle.key
        for bundle, engine in engines
        if isinstance(engine, CompiledEngine) and not engine.is_built
    ]
    for key in lost:
        say(f"{key}: the engine could not be kept in {settings.cache_dir}")
    return 1 if contents.broken or lost else 0


def stay_in_background() -> None:
    """Give way to the process that started this one, and end when it does.

    Its end closes this process's standard input. Of two threads of a pass one waits for the other:
    with a compiler at the same priority on one of two cores, passes took twice as long.
    """

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 1):  # past Python's buffer, which has a lock
            pass
        os._exit(1)

    os.nice(NICENESS)
    threading.Thread(target=watch, name="watch input", daemon=True).start()


async def _load_all(engines: list[tuple[Bundle, Engine]], say: Say) -> None:
    builder = DeviceThread(lambda _: None, "builder")
    builder.start()
    for bundle, engine in engines:
        loaded = await builder.run(engine.load)
        engine.close()
        seconds = loaded.ended - loaded.started
        say(f"{bundle.key}: {engine.description.name} engine ready after {seconds:.1f} s")
    await builder.stop()
