"""A store of versions that tests fill by hand, and the engines that tell them apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from service.engines.plan import EnginePlan
from service.errors import HashMismatch
from service.store.layout import VersionFolder
from service.store.load import BrokenVersion, LoadedModel
from service.store.manifest import Manifest
from tests.fakes import FakeEngine
from tests.running import tiny_model


@dataclass(slots=True)
class Shelf:
    """A source of versions of `tiny`, or of others by `name/version`.

    Attributes:
        keys: what is there; by number.
        broken: what is there and cannot be served.
        loaded: what was loaded, in that order.
    """

    keys: list[str] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    loaded: list[str] = field(default_factory=list)

    def put(self, *versions: int | str) -> None:
        """Put versions there instead of those that were."""
        self.keys = [key if "/" in (key := str(one)) else f"tiny/{key}" for one in versions]

    def find(self) -> list[VersionFolder]:
        """Those that are there."""
        split = [(key.partition("/")[0], key.partition("/")[2]) for key in self.keys]
        return [VersionFolder(name, version, Path(name)) for name, version in split]

    def look(self) -> tuple[tuple[str, ...], ...]:
        """The same, as a look sees it."""
        return tuple((key, "broken" if key in self.broken else "sound") for key in self.keys)

    def manifest(self, version: VersionFolder) -> Manifest:
        """That of the tiny network."""
        return tiny_model(version.name, version.version).manifest

    def load(self, version: VersionFolder) -> LoadedModel | BrokenVersion:
        """The tiny network under another number."""
        self.loaded.append(version.key)
        if version.key in self.broken:
            return BrokenVersion(version.key, HashMismatch("labels.txt has another sha256"))
        return tiny_model(version.name, version.version)


@dataclass(slots=True)
class Engines:
    """A fake engine for each version, unless the test brings its own."""

    by_key: dict[str, FakeEngine] = field(default_factory=dict)

    def plan(self, loaded: LoadedModel) -> EnginePlan:
        """The engine of a version, which answers first and last."""
        engine = self.by_key.setdefault(loaded.key, FakeEngine())
        return EnginePlan(engine, engine)
