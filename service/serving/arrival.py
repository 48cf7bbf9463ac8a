"""How a version comes up beside what serves, or why it cannot."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

from service.config import Settings
from service.errors import EngineFailed, StoreError
from service.metrics import Metrics
from service.serving.failures import NoMemory
from service.serving.memory_room import Memory, compiler_bytes, needed_bytes, why_too_little
from service.serving.served_model import ServedModel
from service.serving.served_models import ServedModels
from service.serving.worker_thread import WorkerThread
from service.store.layout import VersionFolder
from service.store.load import BrokenVersion, LoadedModel
from service.store.manifest import Manifest
from service.store.model_store import Look

T = TypeVar("T")


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


class Arrival:
    """Brings versions up, one at a time, for who has borrowed the thread that builds.

    Args:
        models: that are served.
        source: of the versions.
        settings: of the service: the engine and its largest batch.
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
        self._source = source
        self._engine, self._max_batch = settings.engine, settings.max_batch
        self._memory = memory
        self._metrics = metrics

    async def start(
        self, folder: VersionFolder, builder: WorkerThread, is_wanted: Callable[[str], bool]
    ) -> ServedModel:
        """Verify, build and warm up a version; nobody is answered by it yet.

        Beside another version of its model it comes up on its final engine; where none serves, on
        the first one, and the final one is built later.

        Args:
            folder: of the version.
            builder: the thread that builds.
            is_wanted: says of a model's name whether it is to be served still.

        Raises:
            StoreError: it is not whole.
            NoMemory: it would not fit.
            EngineFailed: its engine does not run, or it is not wanted any more.
        """
        manifest = await _read(builder, self._source.manifest, folder)
        needed = partial(needed_bytes, manifest, self._engine, self._max_batch)
        await self._require_room(builder, needed, "beside what is served")
        loaded = (await builder.run(self._source.load, folder)).result
        if isinstance(loaded, BrokenVersion):
            raise loaded.error
        beside = self._models.newest_of(folder.name)
        model = self._models.make(loaded, beside)
        try:
            if (await builder.run(model.must_compile)).result:
                await self._require_room(builder, partial(compiler_bytes, manifest), "to compile")
            await model.start()
            _require_wanted(folder.name, is_wanted)
        except EngineFailed:
            await self._discard(model)
            raise
        if beside:
            model.expect_times_of(beside)
            loaded.reference.release()  # its engine has a copy of its own
        else:
            self._models.finish_later(model)
        return model

    async def find(self, builder: WorkerThread) -> list[VersionFolder]:
        """What the store has now.

        Raises:
            StoreError: it cannot be read.
        """
        return await _read(builder, self._source.find)

    async def _discard(self, model: ServedModel) -> None:
        model.retire()
        await model.close()
        self._metrics.forget_model(model.metric_labels)

    async def _require_room(
        self, builder: WorkerThread, needed: Callable[[], int], what_for: str
    ) -> None:
        free = (await builder.run(self._memory.free_bytes)).result
        reason = why_too_little((await builder.run(needed)).result, what_for, free)
        if reason is not None:
            raise NoMemory(reason)


def _require_wanted(name: str, is_wanted: Callable[[str], bool]) -> None:
    if not is_wanted(name):
        raise EngineFailed("it was unloaded while it came up")


async def _read(builder: WorkerThread, function: Callable[..., T], *arguments: object) -> T:
    """Call what reads the store: its errors are raised here, and do not fail the thread."""
    read: T | StoreError = (await builder.run(_or_error, function, *arguments)).result
    if isinstance(read, StoreError):
        raise read
    return read


def _or_error(function: Callable[..., T], *arguments: object) -> T | StoreError:
    """Call what reads the store: its errors are results, not failures of the thread."""
    try:
        return function(*arguments)
    except StoreError as error:
        return error
