"""What all connections share: their limits, and how many there may be."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Callable
from typing import Protocol

import structlog

from service.api.unread_answers import UnreadAnswers
from service.config import Settings
from service.metrics import CloseReason

OTHER_DESCRIPTORS = 256  # that the service opens beside its connections: pipes, files, listeners

log = structlog.stdlib.get_logger(__name__)


class Droppable(Protocol):
    """A connection."""

    @property
    def is_answered(self) -> bool:
        """Whether no request of it is in progress."""

    @property
    def is_read(self) -> bool:
        """Whether nothing waits for the client to read."""

    def drop(self, reason: CloseReason) -> None:
        """Close it at once, and count it."""


class Connections:
    """All connections of a server; lives on the event loop.

    Beyond the limit a new one is for probes alone. There are so many of those, too, and a further
    one takes the place of the oldest that is not being answered: whoever holds them all by saying
    nothing cannot keep out a probe, which says at once what it wants, and a flood cannot push one
    out that has been asked for its answer. Where all are being answered the further one goes.

    Args:
        settings: have the limits.
        count: is told why the service closed a connection on its own account.
    """

    def __init__(self, settings: Settings, count: Callable[[CloseReason], None]) -> None:
        self.limit = fit_connections(settings.max_connections, settings.probe_connections)
        self.head_bytes = int(settings.head_limit_kb * 1000)
        self.root = settings.root_path.encode()
        self.head_timeout_s = settings.head_timeout_s
        self.keep_alive_s = settings.keep_alive_s
        self.unread = UnreadAnswers(
            int(settings.unread_answers_mb * 1_000_000), settings.answer_timeout_s
        )
        self.count = count
        self._limit_probes = settings.probe_connections
        self._ordinary: set[Droppable] = set()
        self._probes: dict[Droppable, None] = {}  # the oldest first
        self._is_full = False

    @property
    def open(self) -> int:
        """How many there are."""
        return len(self._ordinary) + len(self._probes)

    def enter(self, connection: Droppable) -> bool:
        """Count a new connection in, and say whether it is for probes alone."""
        if len(self._ordinary) < self.limit:
            self._ordinary.add(connection)
            return False
        if not self._is_full:
            self._is_full = True
            log.warning("every connection is taken", limit=self.limit)
        self._probes[connection] = None
        if len(self._probes) > self._limit_probes:
            surplus = self._find_surplus(connection)
            del self._probes[surplus]
            surplus.drop("too_many_connections")
        return True

    def _find_surplus(self, newest: Droppable) -> Droppable:
        """The oldest that waits for nothing; else one that does not read; else the newest."""
        answered = [probe for probe in self._probes if probe.is_answered and probe is not newest]
        return min(answered, key=lambda probe: not probe.is_read, default=newest)

    def leave(self, connection: Droppable) -> None:
        """Count a connection out."""
        self._ordinary.discard(connection)
        self._probes.pop(connection, None)
        if len(self._ordinary) < 0.9 * self.limit:
            self._is_full = False  # the log shall hear of the next time, but not of each wave


def raise_descriptor_limit() -> None:
    """Let the process open as many descriptors as the system allows it at most."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # a limit without end is none that can be set
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def fit_connections(connections: int, probes: int) -> int:
    """The connections that there are descriptors for, with a line in the log where those lack."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    room = max(1, descriptors - OTHER_DESCRIPTORS - probes)
    if descriptors == resource.RLIM_INFINITY or connections <= room:
        return connections
    log.warning(
        "SGE_MAX_CONNECTIONS is more than there are descriptors for",
        max_connections=connections,
        descriptors=descriptors,
        taken=room,
    )
    return room
