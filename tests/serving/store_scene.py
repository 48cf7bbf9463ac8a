"""A store on the disk that a person changes, and a service that looks at it."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from structlog.testing import capture_logs
from structlog.typing import EventDict

from service.serving.memory_room import Memory
from service.serving.version_states import NOT_WANTED
from service.store.load import load_store
from service.store.model_store import ModelStore
from service.store.policy import VersionPolicy
from tests.fakes import FakeTimer
from tests.running import Running, grey, running, until
from tests.serving.version_shelf import Engines
from tests.store.faulty_disk import FaultyDisk
from tests.store_fixtures import edit_manifest, overwrite


@dataclass(slots=True)
class OnDisk:
    """A store of `a`, and of `b` where the layout has room for two, as a person changes it.

    Attributes:
        folder: the store.
        tiny: a version to copy.
        layout: of the store.
        disk: through which the service looks at it.
    """

    folder: Path
    tiny: Path
    layout: str
    disk: FaultyDisk = field(default_factory=lambda: FaultyDisk({}))

    def fill(self, number: int) -> None:
        """Have a version of `a` in place of all that is there."""
        self.disk.faults.clear()
        self.empty()
        below = {"models": f"a/{number}", "versions": str(number), "files": ""}[self.layout]
        self.put(below, "a", number)
        if self.layout == "models":
            self.put("b/1", "b", 1)

    def empty(self) -> None:
        """Remove everything."""
        self.folder.mkdir(exist_ok=True)
        for path in self.folder.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    def put(self, below: str, name: str, number: object) -> Path:
        """Copy a version to a place."""
        directory = self.folder / below
        for path in self.tiny.iterdir():
            (directory / path.name).unlink(missing_ok=True)
        shutil.copytree(self.tiny, directory, copy_function=os.link, dirs_exist_ok=True)
        edit_manifest(directory, name=name, version=str(number))
        return directory

    def write(self, below: str, content: bytes) -> None:
        """Put a file in another's place."""
        overwrite(self.folder / below, content)

    def fail(self, number: int, *belows: str) -> None:
        """Have the file system fail."""
        self.disk.faults.update({self.folder / below: number for below in belows})


@dataclass(slots=True)
class Watched:
    """A service that looks at a store, and what it says of it."""

    service: Running
    timer: FakeTimer
    store: OnDisk
    lines: list[EventDict]

    async def look(self, times: int) -> None:
        """Let the service look at the store."""
        for _ in range(times):
            self.timer.advance(10)
            await until(self._has_looked)

    async def _has_looked(self) -> bool:
        return bool(self.timer.alarms) and not self.service.runtime.models.leaving

    async def served(self) -> str:
        """The versions that answer, by the index; everything that says something does so."""
        index = await self.service.client.post("/v2/repository/index", json={"ready": True})
        metrics = await self.service.client.get("/metrics")
        keys = [f"{one['name']}/{one['version']}" for one in index.json() if "-" not in one["name"]]
        replies = [
            await self.service.predict(grey(1), f"model={key.partition('/')[0]}") for key in keys
        ]
        assert {reply.status_code for reply in (index, metrics, *replies)} == {200}
        return " ".join(keys)

    async def broken(self) -> dict[str, str]:
        """What readiness says of other versions, and the index likewise."""
        ready = await self.service.client.get("/readyz")
        said: dict[str, str] = ready.json()["broken"]
        states = self.service.runtime.versions.states()
        listed = {f"{one.name}/{one.version}".removesuffix("/"): one.reason for one in states}
        assert ready.status_code == 200
        others = ("", NOT_WANTED)
        assert said == {key: reason for key, reason in listed.items() if reason not in others}
        return {key: self._without_path(reason) for key, reason in said.items()}

    async def loads(self, outcome: str) -> float:
        """How many versions of `a` ended so as they were loaded."""
        return await self.service.metric(
            f'sge_version_loads_total{{model="a",outcome="{outcome}"}}'
        )

    def _without_path(self, text: str) -> str:
        return text.replace(str(self.store.folder), "STORE")

    def warnings(self) -> list[str]:
        """What the log warns of, beside versions that cannot be loaded."""
        events = [line for line in self.lines if line["log_level"] in ("warning", "error")]
        self.lines.clear()
        return [
            self._without_path(str(line.get("reason") or line.get("folder") or line["event"]))
            for line in events
            if line["event"] != "version not loaded"
        ]


@asynccontextmanager
async def watched(
    store: OnDisk, kind: type[ModelStore] = ModelStore, memory: Memory | None = None
) -> AsyncIterator[Watched]:
    """Serve version 4 of what is in a store, after its first looks."""
    store.fill(4)
    contents = load_store(store.folder, policy=VersionPolicy(is_latest=True))
    timer = FakeTimer()
    with capture_logs() as lines:
        async with running(
            *contents.models,
            engines=Engines().plan,
            source=kind(store.folder, None, contents.settled, store.disk),
            timer=timer,
            store_poll_s=10,
            memory=memory,
        ) as service:
            watch = Watched(service, timer, store, lines)
            await watch.look(2)
            yield watch
