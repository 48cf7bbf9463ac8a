"""Faults of engines: of one image, of the engine as a whole, of memory."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import torch

from service.engines.base import EngineOutputs, Row
from service.errors import EngineLost
from tests.fakes import FakeEngine
from tests.faults.fault import OF_TINY, Fault
from tests.running import Running, grey

POISON = 9  # the value of an image that brings a fault about


class OneOfThree(Fault):
    """A fault of one image: those beside it are answered."""

    outcomes = ("ok", "engine_failed", "ok")
    counted = (f"sge_engine_failures_total{OF_TINY}", 1)

    async def strike(self, service: Running) -> list[httpx.Response]:
        """Send them at once."""
        return await asyncio.gather(*(service.predict(grey(value)) for value in (1, POISON, 2)))


class EngineRaises(OneOfThree):
    """A forward pass raises."""

    def parts(self) -> dict[str, Any]:
        """On one image."""
        return {"engine": FakeEngine(raises=[POISON])}


class RowOfNan(OneOfThree):
    """A row of logits is not finite."""

    def parts(self) -> dict[str, Any]:
        """Of one image."""
        return {"engine": FakeEngine(not_finite=[POISON])}


class RowTooFew(OneOfThree):
    """A batch comes back with a row less than it had."""

    def parts(self) -> dict[str, Any]:
        """Where one image is in it."""
        return {"engine": LosingEngine()}


class LosingEngine(FakeEngine):
    """Loses a row of each batch that holds the poison."""

    def infer(self, batch: tuple[int, ...], extras: frozenset[str]) -> EngineOutputs:
        """Answer all but one."""
        outputs = super().infer(batch, extras)
        lost = int(POISON in batch)
        return EngineOutputs(outputs.logits[lost:], outputs.similarities)


class Crash(Fault):
    """The engine crashes, and does not run again before it is mended."""

    outcomes = ("engine_lost", "not_ready")
    readyz = 503
    counted = ("sge_engine_crashes_total", 1)

    def __init__(self, store: Path, folder: Path) -> None:
        super().__init__(store, folder)
        self.engine = CrashingEngine(self.crash)

    def parts(self) -> dict[str, Any]:
        """An engine that it can be done to."""
        return {"engine": self.engine}

    def crash(self) -> None:
        """What a pass does; on the engine's thread."""

    async def strike(self, service: Running) -> list[httpx.Response]:
        """Send the image that does it, and one that finds the engine gone."""
        return [await service.predict(grey(value)) for value in (POISON, 1)]

    def mend(self) -> None:
        """Let passes end again."""
        self.engine.mended.set()


class CrashingEngine(FakeEngine):
    """Crashes at the poison; what comes later waits until it is mended."""

    def __init__(self, crash: Callable[[], None]) -> None:
        super().__init__()
        self.mended = threading.Event()
        self._crash = crash
        self._has_crashed = False

    def infer(self, batch: tuple[int, ...], extras: frozenset[str]) -> EngineOutputs:
        """Answer, or not."""
        if self._has_crashed:
            self.mended.wait()
        self._has_crashed = self._has_crashed or POISON in batch
        if POISON in batch:
            self._crash()
        return super().infer(batch, extras)


class ThreadEnds(Crash):
    """The engine's thread ends."""

    def crash(self) -> None:
        """As native code or an interpreter that goes down would end it."""
        raise SystemExit


class DeviceLost(Crash):
    """Every call on the device fails from now on."""

    def crash(self) -> None:
        """As an engine tells it."""
        raise EngineLost("every call on the device fails")


class PassHangs(Crash):
    """A forward pass never returns."""

    def parts(self) -> dict[str, Any]:
        """With little patience."""
        return super().parts() | {"hang_timeout_s": 2.0}

    def crash(self) -> None:
        """Hang."""
        self.engine.mended.wait()


class OutOfMemory(Fault):
    """There is memory for three images at a time, and eight come."""

    counted = (f"sge_images_total{OF_TINY}", 8 + 1)
    error: type[Exception] = torch.OutOfMemoryError

    def parts(self) -> dict[str, Any]:
        """The eight travel together."""
        return {"engine": NarrowEngine(self.error), "max_batch": 8}

    async def strike(self, service: Running) -> list[httpx.Response]:
        """Send them in one request."""
        files = [("a", (str(value), grey(value))) for value in range(8)]
        return [await service.client.post("/v1/predict", files=files)]


class NarrowEngine(FakeEngine):
    """Has memory for three images."""

    def __init__(self, error: type[Exception]) -> None:
        super().__init__()
        self._error = error

    def warm_up_sizes(self, max_batch: int) -> Sequence[int]:
        """What it has memory for."""
        return [1]

    def infer(self, batch: tuple[int, ...], extras: frozenset[str]) -> EngineOutputs:
        """Refuse a batch that is too large."""
        if len(batch) > 3:
            raise self._error("out of memory")
        return super().infer(batch, extras)


class OutOfMemoryAsRuntimeError(OutOfMemory):
    """As libraries below torch tell it."""

    error = RuntimeError


class OutOfMainMemory(OutOfMemory):
    """As Python and numpy tell it."""

    error = MemoryError


class OutOfPinnedMemory(OutOfMemory):
    """There is none for stacking so many images."""

    def parts(self) -> dict[str, Any]:
        """The pass itself has enough."""
        return {"engine": UnstackingEngine(), "max_batch": 8}


class UnstackingEngine(FakeEngine):
    """Stacks three images."""

    def warm_up_sizes(self, max_batch: int) -> Sequence[int]:
        """What it has memory for."""
        return [1]

    def collate(self, rows: Sequence[Row]) -> tuple[int, ...]:
        """Refuse to stack more."""
        if len(rows) > 3:
            raise RuntimeError("CUDA error: out of memory")
        return super().collate(rows)
