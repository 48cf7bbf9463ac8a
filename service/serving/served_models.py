"""All models being served, and the threads they share."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog

from service.config import Settings
from service.engines.plan import EnginePlan
from service.errors import EngineFailed, EngineLost
from service.metrics import Metrics
from service.serving.batch_policy import Limits
from service.serving.choice import choose_default, choose_model, names_of, versions_of
from service.serving.device_backlog import DeviceBacklog
from service.serving.served_model import ServedModel
from service.serving.worker_thread import WorkerThread
from service.store.load import BrokenVersion, LoadedModel, StoreContents

BACKOFF_S = (0.0, 1.0, 2.0, 4.0, 8.0)  # before each attempt to bring the engine back

log = structlog.stdlib.get_logger(__name__)


class ServedModels:
    """The models by name and version, and the threads on which they are built, stacked and run.

    It brings the engine back when it dies.

    Args:
        contents: what the store holds.
        plan: chooses a model's engines.
        settings: of the service.
        metrics: where the numbers go.

    Raises:
        BadSetting: the default model is not among them, or the device is not there.
    """

    def __init__(
        self,
        contents: StoreContents,
        plan: Callable[[LoadedModel], EnginePlan],
        *,
        settings: Settings,
        metrics: Metrics,
    ) -> None:
        self.broken: list[BrokenVersion] = list(contents.broken)
        self._metrics = metrics
        self._hang_timeout_s = settings.hang_timeout_s
        self._device = WorkerThread(self._on_device_crash, "device", settings.hang_timeout_s)
        self._builder = WorkerThread(self._on_builder_crash, "builder")
        self._collate_thread = ThreadPoolExecutor(1, "collate_thread")
        self._on_lost: Callable[[EngineFailed], None] = lambda _: None
        self.backoff_s: Sequence[float] = BACKOFF_S
        self._tasks: set[asyncio.Task[None]] = set()
        self._revival: asyncio.Task[None] | None = None
        backlog = DeviceBacklog(time.monotonic)
        self._models = {
            loaded.key: ServedModel(
                loaded,
                plan(loaded),
                device=self._device,
                builder=self._builder,
                collate_thread=self._collate_thread,
                limits=Limits(settings.max_batch, settings.window_ms / 1000),
                backlog=backlog,
                metrics=metrics,
            )
            for loaded in contents.models
        }
        for loaded in contents.models:
            metrics.expect_model(self._models[loaded.key].metric_labels)
        self._default = choose_default(contents.models, settings.default_model)

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(tuple(self._models.values()))  # one may be given up meanwhile

    @property
    def names(self) -> list[str]:
        """The names of the models, sorted."""
        return names_of(self._loaded())

    @property
    def default(self) -> str | None:
        """The name of the model that is meant where none is named."""
        return self._default if self._default in self.names else None

    @property
    def are_ready(self) -> bool:
        """Whether there are models and every one of them can answer."""
        return bool(self._models) and all(model.is_ready for model in self)

    def versions(self, name: str) -> list[ServedModel]:
        """The versions of a model, oldest first.

        Raises:
            UnknownModel: there is none of that name.
        """
        return [self._models[loaded.key] for loaded in versions_of(self._loaded(), name)]

    def find(self, name: str | None, version: str | None) -> ServedModel:
        """The model a request means: the default one, the latest version, unless it says so.

        Raises:
            UnknownModel: no such model or version, or none named and no default.
        """
        return self._models[choose_model(self._loaded(), self.default, name, version).key]

    def _loaded(self) -> list[LoadedModel]:
        return [model.loaded for model in self]

    @property
    def is_building(self) -> bool:
        """Whether an engine is being built, which cannot be interrupted."""
        return self._builder.is_running and not self._builder.is_idle

    async def start(
        self,
        on_lost: Callable[[EngineFailed], None] | None = None,
        on_built: Callable[[], None] = lambda: None,
    ) -> None:
        """Bring every model up on its first engine, then build the final ones in the background.

        A model whose first engine cannot run joins the broken versions.

        Args:
            on_lost: called when the engine crashed later and cannot be brought back.
            on_built: called when nothing is being built any more.

        Raises:
            EngineFailed: the first engine of no model can run.
        """
        self._on_lost = on_lost or self._on_lost
        self._device.start()
        self._builder.start()
        for model in self:
            try:
                await model.start()
            except EngineFailed as error:
                self._give_up(model, error)
                if not self._models:
                    raise
        await self._builder.stop()  # and with it its team of threads (see `short_lived_thread`)
        self._builder.start()
        self._spawn(self._finish(on_built))

    async def stop(self) -> None:
        """Let the batches under way end; a build under way is left behind."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._device.stop()
        if self._builder.is_idle:
            await self._builder.stop()
        self._collate_thread.shutdown()

    def _give_up(self, model: ServedModel, error: EngineFailed) -> None:
        key = model.loaded.key
        log.error("model not served", model=key, reason=error.message, exc_info=error)
        model.retire()
        del self._models[key]
        # An error anew: the one that was raised holds on to the frames, and so to the weights.
        self.broken.append(BrokenVersion(key, EngineFailed(error.message)))

    async def _finish(self, on_built: Callable[[], None]) -> None:
        for model in self:
            try:
                await model.finish()
            except EngineFailed as error:
                self._give_up(model, error)
                if not self._models:
                    self._on_lost(error)
            model.loaded.reference.release()  # its engine has a copy of its own
        await self._builder.stop()
        on_built()

    def _on_builder_crash(self, error: EngineLost) -> None:
        """Begin anew; what ended the builder may have taken the device along."""
        log.error("builder crashed", reason=error.message)
        self._builder.start()
        self._spawn(self._try_engines())

    async def _try_engines(self) -> None:
        """Run what answers once: an engine that is lost is a crash, and brought back."""
        for model in self:
            if model.is_ready:
                with contextlib.suppress(EngineFailed):  # a crash is told to `on_crash`
                    await self._device.run(model.warm_up, model.batcher.engine)

    def _on_device_crash(self, error: EngineLost) -> None:
        log.error("engine crashed", reason=error.message, exc_info=error)
        self._metrics.engine_crashes.inc()
        for model in self:
            model.on_crash()
        if self._revival is None or self._revival.done():
            self._revival = self._spawn(self._revive())

    async def _revive(self) -> None:
        """Bring the engine back, or tell that it cannot be: a new process may find it well.

        All attempts together may take as long as one call that counts as hung.
        """
        restarts = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._hang_timeout_s):
                for delay_s in self.backoff_s:
                    await asyncio.sleep(delay_s)
                    restarts += 1
                    if await self._restart():
                        return
        self._on_lost(EngineLost(f"the engine crashed, and {restarts} restarts of it have failed"))

    async def _restart(self) -> bool:
        """Try to bring the engine back, and say whether every model answers again."""
        self._metrics.engine_restarts.inc()
        if not self._device.is_running:
            self._device.start()
        try:
            for model in self:
                await model.restart()
        except EngineFailed as error:
            log.exception("restart failed", reason=error.message)
            return False
        return self._device.is_running  # a model that came back first may have ended it again

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
