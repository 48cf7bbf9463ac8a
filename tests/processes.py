"""The service as a process, started as a person starts it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import pytest

PATIENCE_S = 300  # only against hanging


@dataclass(frozen=True, slots=True)
class Served:
    """A service in a process of its own, and what it has said: its lines and its log's."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    @property
    def said(self) -> str:
        """What it has said so far, as far as somebody listened."""
        return "".join(self.lines)

    @property
    def address(self) -> str:
        """Where it listens."""
        found = re.search(r"starts at (\S+)", self.said)
        assert found is not None, self.said
        return found[1]

    def hear(self, text: str) -> None:
        """Wait for a line with that text."""
        for line in self.process.stdout or []:
            self.lines.append(line)
            if text in line:
                return
        pytest.fail(f"it said only: {self.said}")

    def stop(self, number: int = signal.SIGTERM, timeout_s: float = PATIENCE_S) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout_s)

    def end(self) -> tuple[str, int]:
        """Wait for the end; return what it said last and the exit code."""
        last = list(self.process.stdout or [])
        self.lines.extend(last)
        return "".join(last), self.process.wait(PATIENCE_S)


@contextmanager
def running(
    command: Sequence[str | Path],
    stdin: int | None = None,
    variables: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Served]:
    """Run a command, with further variables, until the block is left."""
    with subprocess.Popen(
        command,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"} | dict(variables),
    ) as process:
        try:
            yield Served(process)
        finally:
            process.kill()


@contextmanager
def serving(store: Path, *flags: str | Path, before: tuple[str, ...] = ()) -> Iterator[Served]:
    """Run `sge-serve serve` on a free port of loopback.

    Args:
        store: its models.
        flags: of the command; later ones win.
        before: words before the command.
    """
    command = [*before, sys.executable, "-m", "service", "serve", "--port", "0", "--device", "cpu"]
    with running([*command, "--log-level", "error", "--model-store", store, *flags]) as service:
        yield service


@contextmanager
def ready(
    store: Path, *flags: str | Path, engine: str = "eager", before: tuple[str, ...] = ()
) -> Iterator[Served]:
    """Run it until it answers, in whatever time a busy machine lets it."""
    patient = ("--default-timeout-ms", f"{PATIENCE_S}000", "--drain-timeout-s", f"{PATIENCE_S}")
    with serving(store, "--engine", engine, *patient, *flags, before=before) as service:
        service.hear("curl")
        yield service
