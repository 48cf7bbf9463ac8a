"""The machine that the client runs on, and how much of it the client uses."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Callable, Iterator

REAL_TIME = "real time"
USUAL = "as other processes"

CpuClock = Callable[[], float]
"""Processor seconds that the client has used."""

cpu_clock: CpuClock = time.process_time


@contextlib.contextmanager
def real_time() -> Iterator[str]:
    """Let this thread run as soon as it has something to do, where the system lets it.

    A client that shares its machine with the service uses little of a core but has to be there in
    time: what it waits for one would count as the service's. Linux gives that right to few users,
    other systems have no such thing.

    Yields:
        `REAL_TIME` or `USUAL`.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except (AttributeError, OSError):
        yield USUAL
        return
    try:
        yield REAL_TIME
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def describe_machine() -> dict[str, str | int]:
    """What a reader of figures must know of the machine that the client ran on."""
    return {
        "processor": _processor() or platform.processor() or platform.machine(),
        "cores": os.cpu_count() or 0,
        "system": platform.platform(),
        "python": platform.python_version(),
        "scheduling": USUAL,
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123  # no regular file
            return next(
                line.partition(":")[2].strip() for line in lines if line.startswith("model name")
            )
    except (OSError, StopIteration):
        return ""
