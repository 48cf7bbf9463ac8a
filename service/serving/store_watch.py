"""Looks at a store now and then, where volumes do not tell what changes on them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from service.errors import ServiceError
from service.serving.timer import Timer
from service.store.model_store import Look

LONGEST_PAUSE = 32  # looks between two attempts of what may pass

log = structlog.stdlib.get_logger(__name__)


class StoreWatch:
    """Acts on a store that has changed once two looks have seen the same: what is copied is whole.

    What fails and may pass is tried again after a pause of one look, of two, of four, and so on up
    to `LONGEST_PAUSE`. Lives on the event loop; a look itself is taken beside it. The next alarm is
    set when a look, and what it led to, has ended, however that was.

    Args:
        look: at the store; may block.
        act: is awaited after a change, and after the first look, since the store may have changed
            while the service started; it says whether that is all until the store changes.
        timer: rings for the next look.
        every_s: how long it waits for it.
    """

    def __init__(
        self,
        look: Callable[[], Look],
        act: Callable[[], Awaitable[bool]],
        timer: Timer,
        every_s: float,
    ) -> None:
        self._look = look
        self._act = act
        self._timer = timer
        self._every_s = every_s
        self._alarm: asyncio.TimerHandle | None = None
        self._looking: asyncio.Task[None] | None = None
        self._seen: Look | None = None
        self._taken_over: Look | None = None
        self._pause = 0  # looks between the last attempt and the next
        self._to_pass = 0  # of them, those still to come
        self._reason = ""  # why the store cannot be looked at now

    def start(self) -> None:
        """Set the first alarm."""
        self._alarm = self._timer.call_at(self._timer.time() + self._every_s, self._ring)

    async def stop(self) -> None:
        """Set no further alarm, and leave a look that is under way."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        if self._alarm is not None:  # which a look that ends sets, however it ends
            self._alarm.cancel()

    def _ring(self) -> None:
        self._looking = asyncio.get_running_loop().create_task(self._look_once())
        self._looking.add_done_callback(_report)

    async def _look_once(self) -> None:
        try:
            before, self._seen = self._seen, await asyncio.to_thread(self._look)
            if self._seen != before:
                self._pause = self._to_pass = 0
            elif self._seen != self._taken_over:
                await self._take_over(self._seen)
            self._reason = ""
        except ServiceError as error:
            if error.message != self._reason:
                self._reason = error.message
                log.warning(
                    "the store cannot be taken over, what is served stays", reason=error.message
                )
        finally:
            self.start()

    async def _take_over(self, seen: Look) -> None:
        if self._to_pass > 0:
            self._to_pass -= 1
            return
        self._to_pass = self._pause = min(2 * self._pause or 1, LONGEST_PAUSE)
        self._taken_over = None
        if await self._act():
            self._taken_over = seen


def _report(looking: asyncio.Task[None]) -> None:
    """Say what nobody foresaw."""
    error = None if looking.cancelled() else looking.exception()
    if error is not None:
        log.error("a look at the store failed", reason=repr(error), exc_info=error)
