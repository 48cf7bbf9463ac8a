"""Replicas as processes, which are killed, stopped and started again on their ports."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.processes import PATIENCE_S, Served, ready
from tests.replicas.balancer import free_ports


@dataclass(slots=True)
class Replica:
    """One service on a port of its own.

    Attributes:
        port: of loopback.
        store: its models.
        flags: of the command, beside those.
        engine: of its models.
    """

    port: int
    store: Path
    flags: tuple[str, ...]
    engine: str
    _running: ExitStack = field(default_factory=ExitStack)
    _served: Served | None = None

    @property
    def served(self) -> Served:
        """The process that runs, or ran last."""
        if self._served is None:
            raise RuntimeError("it was never started")
        return self._served

    def start(self) -> None:
        """Start it, and wait until it answers."""
        service = ready(self.store, "--port", str(self.port), *self.flags, engine=self.engine)
        self._served = self._running.enter_context(service)

    def kill(self) -> None:
        """Have the system end it, as when memory is short."""
        self.served.process.kill()
        self.served.process.wait(PATIENCE_S)

    def stop(self) -> int:
        """Ask it to end, wait until it has, and return its exit code."""
        return self.served.stop(signal.SIGTERM)

    def close(self) -> None:
        """End whatever still runs."""
        self._running.close()


@contextmanager
def replicas(
    number: int, store: Path, flags: Sequence[str] = (), engine: str = "eager"
) -> Iterator[list[Replica]]:
    """Run some over one store until the block is left; all answer when it begins."""
    run = [Replica(port, store, tuple(flags), engine) for port in free_ports(number)]
    with ExitStack() as closing:
        for replica in run:
            closing.callback(replica.close)
        for replica in run:
            replica.start()
        yield run
