"""Which versions are served, and how that changes while requests are answered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import groupby

import structlog

from service.config import Settings
from service.errors import (
    MissingFile,
    NotLoaded,
    ServiceError,
    StoreError,
    UnknownModel,
)
from service.metrics import Metrics
from service.serving.arrival import Arrival, VersionSource
from service.serving.failures import NoMemory, broken_by, known_failure, may_pass
from service.serving.memory_room import Memory
from service.serving.served_model import ServedModel
from service.serving.served_models import ServedModels
from service.serving.version_states import VersionState, list_states
from service.serving.worker_thread import WorkerThread
from service.store.layout import VersionFolder
from service.store.load import BrokenVersion
from service.store.policy import VersionPolicy

KEPT_IN_METRICS = 8  # versions that have left; a rollback goes on counting

log = structlog.stdlib.get_logger(__name__)


class Versions:
    """Changes which versions are served; lives on the event loop, one change at a time.

    A new version is verified, built and warmed up beside what serves, and takes over between two
    batches. What fails leaves what served before as it is, among the broken versions with its
    reason. Requests end on the version on which they began. Only `unload` waits for nothing.

    Args:
        models: that are served.
        source: of the versions.
        settings: which of them are to be served, and on which engine.
        memory: of the machine.
        metrics: where the numbers go.
    """

    def __init__(
        self,
        models: ServedModels,
        source: VersionSource,
        settings: Settings,
        *,
        memory: Memory,
        metrics: Metrics,
    ) -> None:
        self._models = models
        self._policy = VersionPolicy.of(settings)
        self._arrival = Arrival(models, source, settings, memory=memory, metrics=metrics)
        self._metrics = metrics
        self._found: list[VersionFolder] = []  # at the last look
        self._loading: VersionFolder | None = None
        self._unloaded: dict[str, tuple[str, ...]] = {}  # by name: they stay so until `load`
        self._gone: dict[tuple[str, str], None] = {}  # what has left, the longest gone first
        models.on_given_up = self.fall_back

    async def load(self, name: str) -> None:
        """Serve what the policy wants of a model, as the store has it now.

        Raises:
            UnknownModel: the store has no such model.
            NotLoaded: a version that is wanted cannot be served, or the store cannot be read, and
                what serves does so still; or none is wanted; or the model was unloaded meanwhile.
        """
        async with self._models.builder.lend() as builder:
            try:
                everything = await self._find(builder)
            except StoreError as error:
                raise NotLoaded(error.message) from error
            self._forget_unloaded(everything)
            found = [folder for folder in everything if folder.name == name]
            if not found:
                self._replace_broken(name, self._absent(name, everything))
                raise UnknownModel(f"the store has no model {name!r}")
            if self._policy.choose(found).is_empty:
                there = ", ".join(folder.key for folder in found)
                raise NotLoaded(f"the store has {there}, and the settings want none of them served")
            self._unloaded.pop(name, None)
            failed = await self._serve_wanted(name, found, builder, _nothing)
        if name in self._unloaded:
            raise NotLoaded(f"{name} was unloaded meanwhile")
        if failed:
            raise NotLoaded("; ".join(f"{one.key}: {one.error.message}" for one in failed))

    def unload(self, name: str) -> None:
        """Serve a model no more, whatever comes, until it is loaded again.

        Raises:
            UnknownModel: there is none of that name.
        """
        versions = self._models.versions(name)
        self._unloaded[name] = tuple(model.version for model in versions)
        self._replace_broken(name, [])
        self._let_go(versions)

    async def refresh(self) -> bool:
        """Serve what the policy wants of every model, as the store has it now.

        A version that failed is not tried again before its files have changed, unless it failed
        for what may pass: too little memory, or a file that could not be read. A store without a
        single version is taken for one that is not mounted: nothing changes.

        Returns:
            Whether that is all until the store changes; else something may pass.

        Raises:
            StoreError: the store cannot be read.
        """
        async with self._models.builder.lend() as builder:
            found = await self._find(builder)
            if not found:
                log.warning("the store is empty, what is served stays")
                return True
            self._forget_unloaded(found)
            there = {name: [*folders] for name, folders in groupby(found, lambda f: f.name)}
            broken = {_name_of(one.key) for one in self._models.broken}
            for name in sorted({*there, *self._models.names, *broken}):
                if name in self._unloaded:
                    continue
                if name in there:
                    known = partial(known_failure, tuple(self._models.broken))
                    await self._serve_wanted(name, there[name], builder, known)
                else:
                    self._replace_broken(name, self._absent(name, found))
                    self._let_go(model for model in self._models if model.name == name)
        return not any(map(may_pass, self._models.broken))

    async def fall_back(self, name: str) -> None:
        """Serve the next of the versions that are wanted, in the place of one that does not run."""
        try:
            async with self._models.builder.lend() as builder:
                found = [one for one in await self._find(builder) if one.name == name]
                if found and name not in self._unloaded:
                    broken = {one.key: one for one in self._models.broken}
                    await self._serve_wanted(name, found, builder, lambda one: broken.get(one.key))
        except StoreError as error:
            log.warning("no other version is served", model=name, reason=error.message)

    def states(self) -> list[VersionState]:
        """Where every version stands, by name and number."""
        return list_states(self._models, self._loading, self._unloaded, self._found)

    async def _find(self, builder: WorkerThread) -> list[VersionFolder]:
        """What the store has now."""
        self._found = await self._arrival.find(builder)
        return self._found

    async def _serve_wanted(
        self,
        name: str,
        found: Sequence[VersionFolder],
        builder: WorkerThread,
        known: Callable[[VersionFolder], BrokenVersion | None],
    ) -> list[BrokenVersion]:
        """Serve what is wanted of a model, and let go of the rest once something is served.

        Args:
            name: of the model.
            found: its versions.
            builder: the thread that builds.
            known: tells of what is not to be tried again why it failed.

        Returns:
            What is wanted and cannot be served; what is not there is not among it.
        """
        wanted = self._policy.choose(found)
        failed: list[BrokenVersion] = []
        served: set[str] = set()

        async def serve(folder: VersionFolder) -> bool:
            if name in self._unloaded:
                return False
            if folder.key in self._models:
                served.add(folder.key)
                return True
            outcome = known(folder) or await self._bring_in(folder, builder)
            if isinstance(outcome, BrokenVersion):
                failed.append(outcome)
                return False
            served.add(outcome.loaded.key)
            return True

        for folder in wanted.all_of:
            await serve(folder)
        for folder in wanted.first_of:
            if await serve(folder):
                break
        if name not in self._unloaded:
            self._replace_broken(name, [*self._absent(name, found), *failed])
        if served:
            self._let_go(
                model
                for model in self._models
                if model.name == name and model.loaded.key not in served
            )
        return failed

    async def _bring_in(
        self, folder: VersionFolder, builder: WorkerThread
    ) -> ServedModel | BrokenVersion:
        """Serve a version that is not served yet, or say why that cannot be."""
        self._loading = folder
        try:
            model = await self._arrival.start(folder, builder, self._is_wanted)
        except ServiceError as error:
            outcome = "no_memory" if isinstance(error, NoMemory) else "failed"
            self._metrics.version_loads.labels(folder.name, outcome).inc()
            log.warning("version not loaded", model=folder.key, reason=error.message)
            return broken_by(error, folder)
        finally:
            self._loading = None
        self._gone.pop(model.metric_labels, None)
        self._models.let_in(model)
        self._metrics.version_loads.labels(folder.name, "ok").inc()
        log.info("version loaded", model=folder.key)
        return model

    def _is_wanted(self, name: str) -> bool:
        return name not in self._unloaded

    def _let_go(self, models: Iterable[ServedModel]) -> None:
        for model in tuple(models):
            log.info("version leaves", model=model.loaded.key)
            self._models.let_go(model)
            self._gone[model.metric_labels] = None
        while len(self._gone) > KEPT_IN_METRICS:
            longest_gone = next(iter(self._gone))
            del self._gone[longest_gone]
            self._metrics.forget_model(longest_gone)

    def _absent(self, name: str, found: Sequence[VersionFolder]) -> list[BrokenVersion]:
        return [
            BrokenVersion(key, MissingFile("the store has no such version"))
            for key in self._policy.absent(found)
            if _name_of(key) == name
        ]

    def _forget_unloaded(self, found: Sequence[VersionFolder]) -> None:
        """List no longer what was told to go and has left the store; its model stays unloaded."""
        there = {folder.key for folder in found}
        for name, versions in self._unloaded.items():
            self._unloaded[name] = tuple(one for one in versions if f"{name}/{one}" in there)

    def _replace_broken(self, name: str, broken: list[BrokenVersion]) -> None:
        others = [one for one in self._models.broken if _name_of(one.key) != name]
        own = [one for one in broken if one.key not in self._models]
        self._models.broken = [*others, *own]


def _nothing(_: VersionFolder) -> None:
    """All is tried again, whatever is known of it."""


def _name_of(key: str) -> str:
    return key.partition("/")[0]
