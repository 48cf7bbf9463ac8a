"""How long the event loop stands still while requests are inside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from service.serving.timer import Timer

EVERY_S = 0.05  # a standstill is seen but for so much of it; a look takes some 10 us


class LoopWatch:
    """Sets an alarm again and again while requests are inside, and tells how late each one is.

    Whoever keeps the event loop busy makes its alarms late by as long. Nothing is set while no
    request is inside, so an idle service sleeps: what stops its loop then makes nobody wait.

    A context manager, entered once for each request; lives on the event loop.

    Args:
        timer: of the event loop.
        observe: is told how late an alarm was, in seconds.
    """

    def __init__(self, timer: Timer, observe: Callable[[float], None]) -> None:
        self._timer = timer
        self._observe = observe
        self._requests = 0
        self._is_set = False

    def __enter__(self) -> Self:
        self._requests += 1
        if not self._is_set:
            self._set()
        return self

    def __exit__(self, *_: object) -> None:
        self._requests -= 1

    def _set(self) -> None:
        self._is_set = True
        due = self._timer.time() + EVERY_S
        self._timer.call_at(due, lambda: self._look(due))

    def _look(self, due: float) -> None:
        self._observe(max(0.0, self._timer.time() - due))
        self._is_set = False
        if self._requests:
            self._set()
