"""Faults around the engine: disks, the store, decoding processes, the event loop."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import shutil
import signal
import struct
import termios
import threading
from pathlib import Path
from typing import Any, cast

import httpx
import torch

from service.engines.aoti.engine import CompiledEngine
from service.engines.plan import EnginePlan
from service.serving.decode_workers import DecodeWorkers
from service.store.load import LoadedModel, load_version
from tests.fakes import FakeEngine, GatedEngine
from tests.faults.fault import OF_TINY, Fault
from tests.running import Running, grey, tiny_model, until


class CacheDiskFull(Fault):
    """The disk is full when the compiled engine is to be written."""

    counted = (f"sge_engine_fallbacks_total{OF_TINY}", 1)

    def parts(self) -> dict[str, Any]:
        """The eager engine's place is a fake one's."""
        final = CompiledEngine(
            tiny_model(),
            torch.device("cpu"),
            "fp32",
            max_batch=4,
            cache_dir=self.folder,
            build=_find_disk_full,
        )
        return {"engines": EnginePlan(FakeEngine(), final)}

    async def strike(self, service: Running) -> list[httpx.Response]:
        """Wait until it has been given up, for a reason that is told."""
        await service.built.wait()
        engine = (await service.client.get("/readyz")).json()["models"]["tiny/1"]
        assert engine["tier"] == "fallback"
        assert "No space left on device" in engine["fallback_reason"]
        return await super().strike(service)


def _find_disk_full(_: Path) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class StoreGone(Fault):
    """The folder of the models is removed under the running service."""

    outcomes = ("ok", "ok", "ok")
    counted = (f"sge_images_total{OF_TINY}", 3 + 1)

    def models(self) -> list[LoadedModel]:
        """With weights from that folder."""
        return [load_version(self.store / "tiny" / "1")]

    def parts(self) -> dict[str, Any]:
        """The real engine."""
        return {}

    async def strike(self, service: Running) -> list[httpx.Response]:
        """Remove it between two answers."""
        before = await service.predict(grey(1))
        shutil.rmtree(self.store)
        return [before, *[await service.predict(grey(1), query) for query in ("", "masks=last")]]


class DecoderKilled(Fault):
    """A decoding process is killed while it has a picture."""

    counted = ("sge_decoders_lost_total", 1)

    def parts(self) -> dict[str, Any]:
        """One process."""
        return super().parts() | {"decoder": "processes", "decode_workers": 1}

    async def strike(self, service: Running) -> list[httpx.Response]:
        """Stop it, so that the picture stays on its way, and kill it there."""
        worker = cast("DecodeWorkers", service.runtime.decoder)._workers[0]
        process = worker._process
        assert process is not None
        assert process.stdin is not None
        os.kill(process.pid, signal.SIGSTOP)
        picture = asyncio.ensure_future(service.predict(grey(1)))
        pipe = process.stdin.fileno()
        await until(lambda: _has_unread(pipe))
        process.send_signal(signal.SIGKILL)
        return [await picture]


async def _has_unread(pipe: int) -> bool:
    """Whether something lies in a pipe."""
    await asyncio.sleep(0)
    answer = fcntl.ioctl(pipe, termios.FIONREAD, struct.pack("i", 0))
    return bool(struct.unpack("i", answer)[0])


class LoopBlocked(Fault):
    """Something computes where it should not: on the event loop."""

    seconds = 0.4

    def __init__(self, store: Path, folder: Path) -> None:
        super().__init__(store, folder)
        self.engine = GatedEngine()

    def parts(self) -> dict[str, Any]:
        """An engine that keeps a request inside."""
        return {"engine": self.engine}

    async def strike(self, service: Running) -> list[httpx.Response]:
        """Hold the loop up while a request is inside."""
        loop = asyncio.get_running_loop()
        never = threading.Event()
        picture = asyncio.ensure_future(service.predict(grey(1)))
        await self.engine.entered()
        loop.call_soon(never.wait, self.seconds)
        self.engine.open(2)
        reply = await picture
        lag_s = await service.metric("sge_loop_lag_seconds_sum")
        assert lag_s > self.seconds / 2
        return [reply]
