"""What a service holds of the system: memory, threads, files, sockets, processes."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path

PROCESSES = Path("/proc")


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a service held at a moment, in which it worked on nothing.

    Attributes:
        own_mb: memory of its main process, in megabytes, without code and files.
        total_mb: and of the processes that decode for it.
        threads: of the main process.
        files: that it has open, sockets and pipes among them.
        sockets: of these.
        children: processes that it has started and that run.
    """

    own_mb: float
    total_mb: float
    threads: int
    files: int
    sockets: int
    children: int


def holdings_of(pid: int) -> Holdings:
    """Count what a process and its children hold."""
    children = children_of(pid)
    own_mb = _memory_mb(pid)
    opened = list(_opened(pid))
    return Holdings(
        own_mb=own_mb,
        total_mb=own_mb + sum(map(_memory_mb, children)),
        threads=len(list((PROCESSES / str(pid) / "task").iterdir())),
        files=len(opened),
        sockets=sum(target.startswith("socket:") for target in opened),
        children=len(children),
    )


def children_of(pid: int) -> list[int]:
    """The processes that any thread of a process has started."""
    found: list[int] = []
    for children in (PROCESSES / str(pid)).glob("task/*/children"):
        with contextlib.suppress(OSError):  # of a thread that has ended meanwhile
            found += map(int, children.read_text().split())
    return found


def _memory_mb(pid: int) -> float:
    """What is the process's own: neither code nor files, whose pages others share at will."""
    try:
        text = (PROCESSES / str(pid) / "smaps_rollup").read_text()
    except OSError:  # it has ended meanwhile
        return 0.0
    return (
        sum(int(kb) for kb in re.findall(r"^Pss_(?:Anon|Shmem): +(\d+) kB", text, re.MULTILINE))
        / 1000
    )


def _opened(pid: int) -> list[str]:
    targets = []
    for link in (PROCESSES / str(pid) / "fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            targets.append(str(link.readlink()))
    return targets
