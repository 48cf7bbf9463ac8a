"""All models being served, and the threads they share."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Executor

import structlog

from service.batch_policy import Limits
from service.config import Settings
from service.device_thread import DeviceThread
from service.engines.plan import EnginePlan
from service.errors import BadSetting, EngineFailed, UnknownModel
from service.metrics import Metrics
from service.served_model import ServedModel
from service.store import BrokenVersion, Bundle, StoreContents

LONGEST_BACKOFF_S = 30.0

log = structlog.stdlib.get_logger(__name__)


class ServedModels:
    """The models by name and version; owns the device's thread and brings it back when it dies.

    Args:
        contents: what the store holds.
        plan: chooses a model's engines.
        settings: of the service.
        workers: threads on which batches are stacked.
        metrics: where the numbers go.

    Raises:
        BadSetting: the default model is not among them, or the device is not there.
    """

    def __init__(
        self,
        contents: StoreContents,
        plan: Callable[[Bundle], EnginePlan],
        *,
        settings: Settings,
        workers: Executor,
        metrics: Metrics,
    ) -> None:
        self.broken: Sequence[BrokenVersion] = contents.broken
        self._metrics = metrics
        self._device = DeviceThread(self._on_device_death, "device")
        self._builder = DeviceThread(lambda: None, "builder")
        self._tasks: set[asyncio.Task[None]] = set()
        self._revival: asyncio.Task[None] | None = None
        self._models = {
            bundle.key: ServedModel(
                bundle,
                plan(bundle),
                device=self._device,
                builder=self._builder,
                workers=workers,
                limits=Limits(settings.max_batch, settings.window_ms / 1000),
                metrics=metrics,
            )
            for bundle in contents.bundles
        }
        self.default = self._choose_default(settings.default_model)

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._models.values())

    @property
    def names(self) -> list[str]:
        """The names of the models, sorted."""
        return sorted({model.bundle.manifest.name for model in self})

    @property
    def are_ready(self) -> bool:
        """Whether every model can answer."""
        return all(model.is_ready for model in self)

    def versions(self, name: str) -> list[ServedModel]:
        """The versions of a model, oldest first.

        Raises:
            UnknownModel: there is none of that name.
        """
        found = [model for model in self if model.bundle.manifest.name == name]
        if not found:
            raise UnknownModel(f"no model {name!r}, served are: {', '.join(self.names)}")
        return sorted(found, key=lambda model: int(model.bundle.manifest.version))

    def find(self, name: str | None, version: str | None) -> ServedModel:
        """The model a request means: the default one, the latest version, unless it says so.

        Raises:
            UnknownModel: no such model or version, or none named and no default.
        """
        if name is None and self.default is None:
            raise UnknownModel(f"name a model, served are: {', '.join(self.names)}")
        versions = self.versions(name or self.default or "")
        if version is None:
            return versions[-1]
        for model in versions:
            if model.bundle.manifest.version == version:
                return model
        known = ", ".join(model.bundle.manifest.version for model in versions)
        raise UnknownModel(
            f"no version {version!r} of {versions[0].labels[0]}, served are: {known}"
        )

    @property
    def is_building(self) -> bool:
        """Whether an engine is being built, which cannot be interrupted."""
        return self._builder.is_running and not self._builder.is_idle

    async def start(self) -> None:
        """Bring every model up on its first engine, then build the final ones in the background.

        Raises:
            EngineFailed: a model's first engine cannot run.
        """
        self._device.start()
        self._builder.start()
        for model in self:
            await model.start()
        self._spawn(self._finish())

    async def stop(self) -> None:
        """Let the batches under way end; a build under way is left behind."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._device.stop()
        if self._builder.is_idle:
            await self._builder.stop()

    async def _finish(self) -> None:
        for model in self:
            await model.finish()

    def _on_device_death(self) -> None:
        log.error("the device's thread died")
        for model in self:
            model.on_death()
        if self._revival is None or self._revival.done():
            self._revival = self._spawn(self._revive())

    async def _revive(self) -> None:
        for attempt in itertools.count():
            self._metrics.engine_restarts.inc()
            if not self._device.is_running:
                self._device.start()
            try:
                for model in self:
                    await model.restart()
            except EngineFailed as error:
                delay_s = min(2.0**attempt, LONGEST_BACKOFF_S)
                log.exception("restart failed", reason=error.message, next_attempt_in_s=delay_s)
                await asyncio.sleep(delay_s)
            else:
                return

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _choose_default(self, wanted: str | None) -> str | None:
        if wanted is not None and wanted not in self.names:
            raise BadSetting(
                f"SGE_DEFAULT_MODEL={wanted} is not served, served are: {', '.join(self.names)}"
            )
        if wanted is None and len(self.names) == 1:
            return self.names[0]
        return wanted
