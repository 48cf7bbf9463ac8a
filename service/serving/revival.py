"""How an engine that crashed is brought back, and when that is given up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence

import structlog

from service.errors import EngineFailed, EngineLost
from service.serving.served_model import ServedModel
from service.serving.worker_thread import WorkerThread

BACKOFF_S = (0.0, 1.0, 2.0, 4.0, 8.0)  # before each attempt to bring the engine back

log = structlog.stdlib.get_logger(__name__)


class Revival:
    """Starts a device's thread again, and warms up what ran on it.

    Args:
        device: the thread that crashed, or hangs.
        limit_s: what all attempts together may take: as long as one call that counts as hung.
        count: is told of each attempt.
    """

    def __init__(self, device: WorkerThread, limit_s: float, count: Callable[[], None]) -> None:
        self._device = device
        self._limit_s = limit_s
        self._count = count
        self.backoff_s: Sequence[float] = BACKOFF_S

    async def bring_back(self, models: Callable[[], Iterable[ServedModel]]) -> EngineLost | None:
        """Bring the engine back; what is returned says that it cannot be.

        A new process may find it well then.

        Args:
            models: that are to answer again, as they are at each attempt.
        """
        restarts = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limit_s):
                for delay_s in self.backoff_s:
                    await asyncio.sleep(delay_s)
                    restarts += 1
                    if await self._restart(models()):
                        return None
        return EngineLost(f"the engine crashed, and {restarts} restarts of it have failed")

    async def _restart(self, models: Iterable[ServedModel]) -> bool:
        """Try to bring the engine back, and say whether every model answers again."""
        self._count()
        if not self._device.is_running:
            self._device.start()
        try:
            for model in models:
                await model.restart()
        except EngineFailed as error:
            log.exception("restart failed", reason=error.message)
            return False
        return self._device.is_running  # a model that came back first may have ended it again

    async def try_engines(self, models: Iterable[ServedModel]) -> None:
        """Run what answers once: an engine that is lost is a crash, and brought back."""
        for model in models:
            if model.is_ready:
                with contextlib.suppress(EngineFailed):  # a crash is told to `on_crash`
                    await self._device.run(model.warm_up, model.batcher.engine)
