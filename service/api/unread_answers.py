"""Answers that clients do not read: bounded in time, and over all connections in bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from service.metrics import CloseReason

SLOWEST_BYTES_PER_S = 1000  # a client that reads less counts as one that does not read


class Timer(Protocol):
    """A clock with alarms."""

    def time(self) -> float:
        """The present moment."""

    def call_at(self, when: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """Set an alarm."""


class UnreadAnswers:
    """What all clients together have not read yet; lives on the event loop.

    Args:
        limit_bytes: of all of it. An answer alone may be larger.
        timeout_s: how long a client may read next to nothing.
    """

    def __init__(self, limit_bytes: int, timeout_s: float) -> None:
        self.limit_bytes = limit_bytes
        self.timeout_s = timeout_s
        self._all: set[UnreadAnswer] = set()

    @property
    def size_bytes(self) -> int:
        """How much there is; also told to the thread that writes the metrics."""
        return sum(unread.size_bytes for unread in tuple(self._all))

    def add(self, newest: UnreadAnswer) -> None:
        """Note an answer that waits; where that is too much, those go that are read slowest."""
        self._all.discard(newest)
        while self._all and self.size_bytes + newest.size_bytes > self.limit_bytes:
            slowest = max(self._all, key=UnreadAnswer.slowness)
            self._all.discard(slowest)
            slowest.drop("unread_answers")
        self._all.add(newest)

    def discard(self, unread: UnreadAnswer) -> None:
        """Forget one that was read, or whose client is gone."""
        self._all.discard(unread)


class UnreadAnswer:
    """What one client has not read yet.

    Args:
        transport: holds it.
        peers: those of all clients.
        drop: closes the connection for a reason.
        timer: the event loop's.
    """

    def __init__(
        self,
        transport: asyncio.WriteTransport,
        peers: UnreadAnswers,
        drop: Callable[[CloseReason], None],
        timer: Timer,
    ) -> None:
        self.drop = drop
        self.behind_bytes = 0  # that are still to be given to the transport
        self._transport = transport
        self._peers = peers
        self._clock = timer
        self._timer: asyncio.TimerHandle | None = None
        self._began = 0.0
        self._size_before = 0

    @property
    def size_bytes(self) -> int:
        """What its client has not read yet."""
        return self._transport.get_write_buffer_size() + self.behind_bytes

    def slowness(self) -> tuple[float, float]:
        """Grows with how slowly it is read, then with for how long."""
        elapsed_s = self._clock.time() - self._began
        return (self.size_bytes - self._size_before) / max(elapsed_s, 1e-6), elapsed_s

    def begin(self) -> None:
        """Count it, and watch the client read."""
        self.watch()
        self._peers.add(self)

    def end(self) -> None:
        """Forget it: it was read, or the client is gone."""
        self._peers.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def watch(self) -> None:
        """Drop the connection unless the client reads."""
        if self._timer is not None:
            self._timer.cancel()
        self._began, self._size_before = self._clock.time(), self.size_bytes
        self._timer = self._clock.call_at(self._began + self._peers.timeout_s, self._look)

    def _look(self) -> None:
        least_bytes = SLOWEST_BYTES_PER_S * self._peers.timeout_s
        if self._size_before - self.size_bytes < least_bytes:
            self.drop("slow_reader")
        else:
            self.watch()
