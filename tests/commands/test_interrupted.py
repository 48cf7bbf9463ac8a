"""`sge-serve predict`, interrupted while its engine comes up."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from service.commands.predict import PredictArguments, Prediction
from service.config import Settings
from service.engines.calibration import image_limits
from service.engines.plan import EnginePlan
from service.results.query import PredictQuery
from service.serving.decode_workers import DecodeHere
from service.serving.runtime import build_runtime
from service.store.load import StoreContents
from tests.fakes import SlowEngine
from tests.running import tiny_model


class Watching(DecodeHere):
    """Decodes here, and notes whether the engine was built when it was stopped.

    Args:
        settings: of the command.
        engine: of it.
    """

    def __init__(self, settings: Settings, engine: SlowEngine) -> None:
        super().__init__(image_limits(settings))
        self.engine = engine
        self.stopped_after_build: bool | None = None

    def stop(self) -> None:
        """Note it."""
        self.stopped_after_build = self.engine.has_loaded.is_set()


@pytest.mark.anyio
async def test_an_interrupt_waits_for_the_engine_that_is_being_built(tmp_path: Path) -> None:
    """Then everything that was started ends; the command line makes it exit code 130."""
    engine, settings = SlowEngine(), Settings(model_store=tmp_path)
    decoder = Watching(settings, engine)
    contents = StoreContents((tiny_model(),), ())
    runtime = build_runtime(settings, contents, lambda *_: EnginePlan(engine, engine), decoder)
    arguments = PredictArguments((tmp_path,), PredictQuery(), csv=tmp_path / "out.csv")
    running = asyncio.create_task(Prediction(runtime, arguments, pytest.fail, pytest.fail).run())
    await asyncio.to_thread(engine.is_loading.wait)

    running.cancel()
    for _ in range(9):
        await asyncio.sleep(0)
    engine.may_load.set()

    with pytest.raises(asyncio.CancelledError):
        await running
    assert decoder.stopped_after_build is True
