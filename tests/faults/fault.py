"""A fault inside a service: what it breaks, what a client is told, and how it is mended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from service.store.load import LoadedModel
from tests.fakes import FakeEngine
from tests.running import Running, grey, tiny_model

OF_TINY = '{model="tiny",version="1"}'


class Fault:
    """One fault, and what a service makes of it.

    Attributes:
        outcomes: of the requests that `strike` sends, in order.
        readyz: the status of `/readyz` while the fault is there.
        counted: a line of `/metrics`, and how often it has counted.
    """

    outcomes: Sequence[str] = ("ok",)
    readyz = 200
    counted = ("sge_engine_crashes_total", 0)

    def __init__(self, store: Path, folder: Path) -> None:
        self.store = store
        self.folder = folder

    def models(self) -> list[LoadedModel]:
        """What is served."""
        return [tiny_model()]

    def parts(self) -> dict[str, Any]:
        """What the service is run with."""
        return {"engine": FakeEngine()}

    async def strike(self, service: Running) -> list[httpx.Response]:
        """Bring the fault about, and send requests that meet it."""
        return [await service.predict(grey(1))]

    def mend(self) -> None:
        """Take the fault away, where it does not go by itself."""
