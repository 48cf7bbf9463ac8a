"""The thread on which engines are built, lent to one user at a time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from service.errors import EngineLost
from service.serving.worker_thread import WorkerThread


class BuildThread:
    """A thread that runs while somebody has borrowed it; lives on the event loop.

    With it ends its team of threads (see `short_lived_thread`).

    Attributes:
        thread: runs what the borrower wants.

    Args:
        on_crash: is told when it dies; it has begun anew then.
        tidy_up: frees memory, on the thread.
    """

    def __init__(self, on_crash: Callable[[EngineLost], None], tidy_up: Callable[[], None]) -> None:
        self.thread = WorkerThread(self._begin_anew, "builder")
        self._on_crash = on_crash
        self._tidy_up = tidy_up
        self._turn = asyncio.Lock()

    @property
    def is_busy(self) -> bool:
        """Whether something is being built, which cannot be interrupted."""
        return self.thread.is_running and not self.thread.is_idle

    @contextlib.asynccontextmanager
    async def lend(self) -> AsyncIterator[WorkerThread]:
        """Wait for one's turn and borrow the thread; who is cancelled leaves it as it is."""
        async with self._turn:
            if not self.thread.is_running:
                self.thread.start()
            is_left = False
            try:
                yield self.thread
            except asyncio.CancelledError:
                is_left = True
                raise
            finally:
                if not is_left:
                    await self.thread.stop()

    async def tidy_up(self) -> None:
        """Free memory on the thread, for who has borrowed it."""
        await self.thread.run(self._tidy_up)

    async def stop(self, *, leaves_builds: bool) -> None:
        """End the thread, unless it builds and builds are left behind."""
        if self.thread.is_idle or not leaves_builds:
            await self.thread.stop()

    def _begin_anew(self, error: EngineLost) -> None:
        self.thread.start()
        self._on_crash(error)
