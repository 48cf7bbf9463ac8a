"""The machine that the client runs on, and how much of it the client uses."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable

PRECEDENCE = -10  # as nice counts: 0 is usual, -20 the most

CpuClock = Callable[[], float]
"""Processor seconds that the client has used."""

cpu_clock: CpuClock = time.process_time


def take_precedence() -> bool:
    """Let this process run before others that want the same core, where the system lets it.

    A client that shares its machine with the service uses little of a core but has to be there in
    time: what it waits for one would count as the service's.

    Returns:
        Whether it does; it takes a right that few users have.
    """
    try:
        os.setpriority(os.PRIO_PROCESS, 0, PRECEDENCE)
    except PermissionError:
        return False
    return True


def describe_machine() -> dict[str, str | int]:
    """What a reader of figures must know of the machine that the client ran on."""
    return {
        "processor": _processor() or platform.processor() or platform.machine(),
        "cores": os.cpu_count() or 0,
        "system": platform.platform(),
        "python": platform.python_version(),
        "niceness": os.getpriority(os.PRIO_PROCESS, 0),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123  # no regular file
            return next(
                line.partition(":")[2].strip() for line in lines if line.startswith("model name")
            )
    except (OSError, StopIteration):
        return ""
