"""Which versions are served, and how that changes while requests are answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Protocol, TypeVar

import structlog

from service.config import EngineName
from service.errors import (
    EngineFailed,
    MissingFile,
    NotLoaded,
    ServiceError,
    StoreError,
    UnknownModel,
)
from service.metrics import Metrics
from service.serving.failures import NoMemory, broken_by, known_failure, may_pass
from service.serving.memory_room import FreeBytes, free_memory_bytes, why_too_little
from service.serving.served_model import ServedModel
from service.serving.served_models import ServedModels
from service.serving.version_states import VersionState, list_states
from service.serving.worker_thread import WorkerThread
from service.store.layout import VersionFolder
from service.store.load import BrokenVersion, LoadedModel
from service.store.manifest import Manifest
from service.store.model_store import Look
from service.store.policy import VersionPolicy

T = TypeVar("T")

KEPT_IN_METRICS = 8  # versions that have left; a rollback goes on counting

log = structlog.stdlib.get_logger(__name__)


class VersionSource(Protocol):
    """Where versions come from; its methods are called beside the event loop."""

    def find(self) -> list[VersionFolder]:
        """Every version that is there, by name and then by number."""

    def look(self) -> Look:
        """See what is there without reading it, so that a change shows."""

    def manifest(self, version: VersionFolder) -> Manifest:
        """What a version says of itself."""

    def load(self, version: VersionFolder) -> LoadedModel | BrokenVersion:
        """Read and verify a version, or say why it cannot be served."""


class Versions:
    """Changes which versions are served; lives on the event loop, one change at a time.

    A new version is verified, built and warmed up beside what serves, and takes over between two
    batches. What fails leaves what served before as it is, among the broken versions with its
    reason. Requests end on the version on which they began.

    Args:
        models: that are served.
        source: of the versions.
        policy: which of them are to be served.
        engine: which engine they get, by name.
        metrics: where the numbers go.
    """

    def __init__(
        self,
        models: ServedModels,
        source: VersionSource,
        policy: VersionPolicy,
        *,
        engine: EngineName,
        metrics: Metrics,
    ) -> None:
        self._models = models
        self._source = source
        self._policy = policy
        self._engine: EngineName = engine
        self._metrics = metrics
        self.free_bytes: FreeBytes = free_memory_bytes
        self.give_back: Callable[[], None] = lambda: None  # on the thread that builds
        self._turn = asyncio.Lock()
        self._loading: VersionFolder | None = None
        self._unloaded: dict[str, tuple[str, ...]] = {}  # by name: they stay so until `load`
        self._gone: dict[tuple[str, str], None] = {}  # what has left, the longest gone first

    async def load(self, name: str) -> None:
        """Serve what the policy wants of a model, as the store has it now.

        Raises:
            UnknownModel: the store has no such model.
            NotLoaded: a version that is wanted cannot be served, or the store cannot be read; what
                serves does so still.
        """
        async with self._turn, self._models.building() as builder:
            try:
                everything = await self._find(builder)
            except StoreError as error:
                raise NotLoaded(error.message) from error
            self._forget_unloaded(everything)
            found = [folder for folder in everything if folder.name == name]
            if not found:
                self._replace_broken(name, self._absent(name, everything))
                raise UnknownModel(f"the store has no model {name!r}")
            self._unloaded.pop(name, None)
            failed = await self._serve_wanted(name, found, builder, is_told=True)
        if failed:
            raise NotLoaded("; ".join(f"{one.key}: {one.error.message}" for one in failed))

    async def unload(self, name: str) -> None:
        """Serve a model no more, whatever comes, until it is loaded again.

        Raises:
            UnknownModel: there is none of that name.
        """
        async with self._turn:
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
        async with self._turn, self._models.building() as builder:
            found = await self._find(builder)
            if not found:
                log.warning("the store is empty, what is served stays")
                return True
            self._forget_unloaded(found)
            there = {name: [*folders] for name, folders in groupby(found, lambda f: f.name)}
            broken = {one.key.partition("/")[0] for one in self._models.broken}
            for name in sorted({*there, *self._models.names, *broken} - set(self._unloaded)):
                if name in there:
                    await self._serve_wanted(name, there[name], builder, is_told=False)
                else:
                    self._replace_broken(name, self._absent(name, found))
                    self._let_go(model for model in self._models if model.name == name)
        return not any(map(may_pass, self._models.broken))

    def states(self) -> list[VersionState]:
        """Where every version stands, by name and number."""
        return list_states(self._models, self._loading, self._unloaded)

    async def _find(self, builder: WorkerThread) -> list[VersionFolder]:
        found: list[VersionFolder] | StoreError = (
            await builder.run(_or_error, self._source.find)
        ).result
        if isinstance(found, StoreError):
            raise found
        return found

    async def _serve_wanted(
        self, name: str, found: Sequence[VersionFolder], builder: WorkerThread, *, is_told: bool
    ) -> list[BrokenVersion]:
        """Serve what is wanted of a model, and let go of the rest once something is served.

        Who is told to tries again what failed before.
        """
        wanted, failed, served = self._policy.choose(found), self._absent(name, found), set[str]()

        async def serve(folder: VersionFolder) -> bool:
            if folder.key in self._models:
                served.add(folder.key)
                return True
            known = None if is_told else known_failure(self._models.broken, folder)
            outcome = known or await self._bring_in(folder, builder)
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
        self._replace_broken(name, failed)
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
            model = await self._start(folder, builder)
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

    async def _start(self, folder: VersionFolder, builder: WorkerThread) -> ServedModel:
        await self._require_room(folder, builder)
        loaded = (await builder.run(self._source.load, folder)).result
        if isinstance(loaded, BrokenVersion):
            raise loaded.error
        is_beside = folder.name in self._models.names
        model = self._models.make(loaded, is_beside=is_beside)
        try:
            await model.start()
        except EngineFailed:
            model.retire()
            await model.close()
            self._metrics.forget_model(model.metric_labels)
            raise
        if is_beside:
            model.expect_times_of(self._models.versions(folder.name)[-1])
            loaded.reference.release()  # its engine has a copy of its own
        else:
            self._models.finish_later(model, self.give_back)
        return model

    async def _require_room(self, folder: VersionFolder, builder: WorkerThread) -> None:
        manifest = (await builder.run(_or_error, self._source.manifest, folder)).result
        if isinstance(manifest, StoreError):
            raise manifest
        free = (await builder.run(self.free_bytes)).result
        reason = (await builder.run(why_too_little, manifest, self._engine, free)).result
        if reason is not None:
            raise NoMemory(reason)

    def _let_go(self, models: Iterable[ServedModel]) -> None:
        for model in tuple(models):
            log.info("version leaves", model=model.loaded.key)
            self._models.let_go(model, self.give_back)
            self._gone[model.metric_labels] = None
        while len(self._gone) > KEPT_IN_METRICS:
            longest_gone = next(iter(self._gone))
            del self._gone[longest_gone]
            self._metrics.forget_model(longest_gone)

    def _absent(self, name: str, found: Sequence[VersionFolder]) -> list[BrokenVersion]:
        return [
            BrokenVersion(key, MissingFile("the store has no such version"))
            for key in self._policy.absent(found)
            if key.partition("/")[0] == name
        ]

    def _forget_unloaded(self, found: Sequence[VersionFolder]) -> None:
        """List no longer what was told to go and has left the store; its model stays unloaded."""
        there = {folder.key for folder in found}
        for name, versions in self._unloaded.items():
            self._unloaded[name] = tuple(one for one in versions if f"{name}/{one}" in there)

    def _replace_broken(self, name: str, broken: list[BrokenVersion]) -> None:
        others = [one for one in self._models.broken if one.key.partition("/")[0] != name]
        own = [one for one in broken if one.key not in self._models]
        self._models.broken = [*others, *own]


def _or_error(function: Callable[..., T], *arguments: object) -> T | StoreError:
    """Call what reads the store: its errors are results, not failures of the thread."""
    try:
        return function(*arguments)
    except StoreError as error:
        return error
