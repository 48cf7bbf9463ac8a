"""An event loop whose time passes only where it would have waited: seconds of load in no time."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class JumpingSelector(selectors.DefaultSelector):
    """Looks for input without waiting, and moves the clock by the time that was allowed for it."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is there; wait for good only where no time was given."""
        if timeout is None:
            return super().select()
        self.now += max(0.0, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs callbacks in the order of their moments, at once."""

    def __init__(self) -> None:
        self.clock = JumpingSelector()
        super().__init__(self.clock)

    def time(self) -> float:
        """Virtual seconds."""
        return self.clock.now

    def work(self, seconds: float) -> None:
        """Let time pass in which the loop comes to nothing else, as long code would."""
        self.clock.now += seconds


def run_virtually(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run to the end on a loop of its own, which starts at second 0."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(coroutine)


def work(seconds: float) -> None:
    """Block the running virtual loop."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.work(seconds)
