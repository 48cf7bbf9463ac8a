"""All models being served, and the threads they share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor

import structlog

from service.config import Settings, shares_of
from service.engines.plan import EnginePlan
from service.errors import EngineFailed, EngineLost
from service.metrics import Metrics
from service.serving import choice
from service.serving.batch_account import BatchAccount
from service.serving.batch_policy import Limits
from service.serving.build_thread import BuildThread
from service.serving.device_backlog import DeviceBacklog
from service.serving.revival import Revival
from service.serving.served_model import ServedModel
from service.serving.worker_thread import WorkerThread
from service.store.load import BrokenVersion, LoadedModel, StoreContents
from service.tracing.tracer import Tracer

log = structlog.stdlib.get_logger(__name__)


async def _rest(*_: object) -> None:
    """Do nothing more."""


class ServedModels:
    """The models by name and version, and the threads on which they are built, stacked and run.

    It brings the engine back when it dies.

    Args:
        contents: what the store holds.
        plan: chooses a model's engines.
        settings: of the service.
        metrics: where the numbers go.
        tidy_up: frees memory, on the thread that builds.
        tracer: makes spans of batches; None: there are none.

    Attributes:
        broken: versions that cannot be served, and why.
        leaving: answer only those who began on them.
        on_given_up: is awaited with a model's name when a version of it turned out not to run.

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
        tidy_up: Callable[[], None] = lambda: None,
        tracer: Tracer | None = None,
    ) -> None:
        self.broken: list[BrokenVersion] = list(contents.broken)
        self.leaving: list[ServedModel] = []
        self.on_given_up: Callable[[str], Awaitable[None]] = _rest
        self._metrics, self._tracer = metrics, tracer
        self._device = WorkerThread(self._on_device_crash, "device", settings.hang_timeout_s)
        self.builder = BuildThread(self._on_builder_crash, tidy_up)
        self._collate_thread = ThreadPoolExecutor(1, "collate_thread")
        self._on_lost: Callable[[EngineFailed], None] = lambda _: None
        self.revival = Revival(self._device, settings.hang_timeout_s, metrics.engine_restarts.inc)
        self._tasks: set[asyncio.Task[None]] = set()
        self._reviving: asyncio.Task[None] | None = None
        self._plan = plan
        self._limits = Limits(settings.max_batch, settings.window_ms / 1000)
        self._backlog = DeviceBacklog(time.monotonic)
        self.shares = choice.Shares(shares_of(settings.version_weights))
        for key, share in self.shares.by_key.items():
            metrics.version_weight.labels(*key.split("/")).set(share)
        self._models = {loaded.key: self.make(loaded) for loaded in contents.models}
        self._default = choice.choose_default(contents.models, settings.default_model)
        self._default_is_set = settings.default_model is not None

    def make(self, loaded: LoadedModel, beside: ServedModel | None = None) -> ServedModel:
        """Put together what answers for a model; nothing runs before its `start`.

        Args:
            loaded: the model.
            beside: the version that answers until this one's final engine does. One on the engine
                that was asked for is not followed by one on another.

        Raises:
            BadSetting: the device is not there.
        """
        plan = self._plan(loaded)
        if beside is not None:
            plan = plan.without_tiers(may_fall_back=not beside.is_final)
        labels = loaded.manifest.name, loaded.manifest.version
        model = ServedModel(
            loaded,
            plan,
            device=self._device,
            builder=self.builder.thread,
            collate_thread=self._collate_thread,
            limits=self._limits,
            backlog=self._backlog,
            account=BatchAccount(labels, self._metrics, self._tracer),
        )
        self._metrics.expect_model(model.metric_labels)
        return model

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(tuple(self._models.values()))  # one may be given up meanwhile

    def __contains__(self, key: str) -> bool:
        return key in self._models

    @property
    def names(self) -> list[str]:
        """The names of the models, sorted."""
        return choice.names_of(self._loaded())

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
        return [self._models[loaded.key] for loaded in choice.versions_of(self._loaded(), name)]

    def newest_of(self, name: str) -> ServedModel | None:
        """The newest version of a model, if there is any."""
        return self.versions(name)[-1] if name in self.names else None

    def find(self, name: str | None, version: str | None) -> ServedModel:
        """The model a request means: the default one, the latest version, unless it says so.

        Raises:
            UnknownModel: no such model or version, or none named and no default.
        """
        return self._models[choice.choose_model(self._loaded(), self.default, name, version).key]

    def draw(self, name: str | None, version: str | None) -> ServedModel:
        """The model that is to answer a request: as `find`, but by shares where there are any.

        Raises:
            UnknownModel: as `find` does.
        """
        meant = self.find(name, version)
        if version is not None or not self.shares.by_key:
            return meant
        return self.shares.draw(self.versions(meant.name)) or meant

    def let_in(self, model: ServedModel) -> None:
        """Let a model answer that was made and started."""
        self._models[model.loaded.key] = model
        if self.default is None and not self._default_is_set:
            self._default = model.name if self.names == [model.name] else None

    def let_go(self, model: ServedModel) -> None:
        """Let a model answer nobody else, and end once those inside are answered."""
        del self._models[model.loaded.key]
        self.leaving.append(model)
        model.withdraw()
        self.spawn(self._end(model))

    async def _end(self, model: ServedModel) -> None:
        await model.end()
        async with self.builder.lend():
            await model.close()
            self.leaving.remove(model)
            await self.builder.tidy_up()

    def _loaded(self) -> list[LoadedModel]:
        return [model.loaded for model in self]

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
        failed = EngineFailed("no model")
        async with self.builder.lend():
            for model in self:
                try:
                    await model.start()
                except EngineFailed as error:
                    failed = error
                    self._give_up(model, error)
        for name in {one.key.partition("/")[0] for one in self.broken} - set(self.names):
            await self.on_given_up(name)
        if not self._models:
            raise failed
        self.spawn(self._finish_all(on_built))

    async def stop(self, *, leaves_builds: bool = True) -> None:
        """Let the batches under way end.

        Args:
            leaves_builds: a build under way is left behind, and the process has to end at once:
                Python cannot end in order beside a thread that computes. Else it is waited for.
        """
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._device.stop()
        await self.builder.stop(leaves_builds=leaves_builds)
        self._collate_thread.shutdown()

    def _give_up(self, model: ServedModel, error: EngineFailed) -> bool:
        """Serve a model no more, if it still was, and say so."""
        key = model.loaded.key
        if self._models.get(key) is not model:  # it was let go of meanwhile
            return False
        log.error("model not served", model=key, reason=error.message, exc_info=error)
        model.retire()
        del self._models[key]
        # An error anew: the one that was raised holds on to the frames, and so to the weights.
        self.broken.append(BrokenVersion(key, EngineFailed(error.message)))
        return True

    async def _finish_all(self, on_built: Callable[[], None]) -> None:
        for model in self:
            await self._finish(model)
        on_built()

    def finish_later(self, model: ServedModel) -> None:
        """Build a model's final engine in the background, as `start` does; then free memory."""
        self.spawn(self._finish(model, self.builder.tidy_up))

    async def _finish(
        self, model: ServedModel, then: Callable[[], Awaitable[None]] = _rest
    ) -> None:
        given_up = None
        async with self.builder.lend():
            if model.is_withdrawn:  # it was let go of before its turn came
                return
            try:
                await model.finish()
            except EngineFailed as error:
                given_up = error if self._give_up(model, error) else None
            model.loaded.reference.release()  # its engine has a copy of its own
            await then()
        if given_up is not None:
            await self.on_given_up(model.name)
            if not self._models:
                self._on_lost(given_up)

    def _on_builder_crash(self, error: EngineLost) -> None:
        """Begin anew; what ended the builder may have taken the device along."""
        log.error("builder crashed", reason=error.message)
        self.spawn(self.revival.try_engines(tuple(self)))

    def _on_device_crash(self, error: EngineLost) -> None:
        log.error("engine crashed", reason=error.message, exc_info=error)
        self._metrics.engine_crashes.inc()
        for model in (*self, *self.leaving):
            model.on_crash()
        if self._reviving is None or self._reviving.done():
            self._reviving = self.spawn(self._revive())

    async def _revive(self) -> None:
        lost = await self.revival.bring_back(lambda: tuple(self))
        if lost is not None:
            self._on_lost(lost)

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Do work beside; `stop` cancels it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
