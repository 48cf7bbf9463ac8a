"""The clock of queues and of looks at the event loop, and its alarms."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A clock in seconds, and alarms on it."""

    def time(self) -> float:
        """The present moment."""

    def call_at(self, when: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """Call back at a moment."""


class LoopTimer(Timer):
    """The event loop's alarm on the clock that the engine's thread uses too."""

    def time(self) -> float:
        """`time.monotonic`: finer than the loop's own clock."""
        return time.monotonic()

    def call_at(self, when: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """Call back at a moment."""
        return asyncio.get_running_loop().call_later(when - time.monotonic(), callback)
