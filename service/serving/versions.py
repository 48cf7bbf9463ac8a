"""Which versions are served, and how that changes while requests are answered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

import structlog

from service.config import Settings
from service.errors import (
    EngineFailed,
    MissingFile,
    NotLoaded,
    ServiceError,
    StoreError,
    UnknownModel,
)
from service.metrics import Metrics
from service.serving.arrival import Arrival, NoMemory, VersionSource
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
            NotLoaded: a version that is wanted cannot be served, and what serves does so still; or
                none is wanted; or the model was unloaded meanwhile.
            StoreError: the store cannot be read.
        """
        async with self._models.builder.lend() as builder:
            found = await self._find(builder, name)
            if not found:
                raise UnknownModel(f"the store has no model {name!r}")
            if self._policy.choose(found).is_empty:
                there = ", ".join(folder.key for folder in found)
                raise NotLoaded(f"the store has {there}, and the settings want none of them served")
            self._unloaded.pop(name, None)
            failed = await self._serve_wanted(name, found, builder)
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

    async def refresh(self) -> None:
        """Serve what the policy wants of every model, as the store has it now.

        A store without a single version is taken for one that is not mounted: nothing changes.

        Raises:
            StoreError: the store cannot be read.
        """
        async with self._models.builder.lend() as builder:
            found = await self._find(builder)
            if not found:
                log.warning("the store is empty, what is served stays")
                return
            there = {name: [*folders] for name, folders in groupby(found, lambda f: f.name)}
            for name in set(there) | set(self._models.names):
                if name in self._unloaded:
                    continue
                if name in there:
                    await self._serve_wanted(name, there[name], builder)
                else:
                    self._replace_broken(name, self._absent(name, found))
                    self._let_go(self._models.versions(name))

    async def fall_back(self, name: str) -> None:
        """Serve the next of the versions that are wanted, in the place of one that does not run."""
        try:
            async with self._models.builder.lend() as builder:
                found = await self._find(builder, name)
                if name not in self._unloaded:
                    broken = [one for one in self._models.broken if _name_of(one.key) == name]
                    await self._serve_wanted(name, found, builder, broken)
        except StoreError as error:
            log.warning("no other version is served", model=name, reason=error.message)

    def states(self) -> list[VersionState]:
        """Where every version stands, by name and number."""
        return list_states(self._models, self._loading, self._unloaded, self._found)

    async def _find(self, builder: WorkerThread, name: str | None = None) -> list[VersionFolder]:
        """What the store has now, of one model or of all."""
        self._found = found = await self._arrival.find(builder)
        return [folder for folder in found if name in (None, folder.name)]

    async def _serve_wanted(
        self,
        name: str,
        found: Sequence[VersionFolder],
        builder: WorkerThread,
        known_broken: Sequence[BrokenVersion] = (),
    ) -> list[BrokenVersion]:
        """Serve what is wanted of a model, and let go of the rest once something is served.

        Returns:
            What is wanted and cannot be served; what is not there is not among it.
        """
        wanted, failed, served = self._policy.choose(found), list(known_broken), set[str]()
        not_tried = {one.key for one in known_broken}

        async def serve(folder: VersionFolder) -> bool:
            if folder.key in not_tried or name in self._unloaded:
                return False
            reason = None
            if folder.key not in self._models:
                reason = await self._bring_in(folder, builder)
            if reason is None:
                served.add(folder.key)
            else:
                failed.append(reason)
            return reason is None

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

    async def _bring_in(self, folder: VersionFolder, builder: WorkerThread) -> BrokenVersion | None:
        """Serve a version that is not served yet, or say why that cannot be."""
        self._loading = folder
        try:
            model = await self._arrival.start(folder, builder, self._is_wanted)
        except ServiceError as error:
            outcome = "no_memory" if isinstance(error, NoMemory) else "failed"
            self._metrics.version_loads.labels(folder.name, outcome).inc()
            log.warning("version not loaded", model=folder.key, reason=error.message)
            # An error anew: the one that was raised holds on to the frames, and so to the weights.
            kind = StoreError if isinstance(error, StoreError) else EngineFailed
            return BrokenVersion(folder.key, kind(error.message))
        finally:
            self._loading = None
        self._gone.pop(model.metric_labels, None)
        self._models.let_in(model)
        self._metrics.version_loads.labels(folder.name, "ok").inc()
        log.info("version loaded", model=folder.key)
        return None

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

    def _replace_broken(self, name: str, broken: list[BrokenVersion]) -> None:
        others = [one for one in self._models.broken if _name_of(one.key) != name]
        self._models.broken = [*others, *broken]


def _name_of(key: str) -> str:
    return key.partition("/")[0]
