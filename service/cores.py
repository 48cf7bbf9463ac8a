"""How many cores a process may use; torch and Python look at those of the machine."""

from __future__ import annotations

import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """The cores that this process may run on, and no more than its quota of processor time."""
    quota = core_quota()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(cores or 1, quota or cores or 1)


def core_quota(cgroups: Path = CGROUPS, own: Path = OWN_CGROUP) -> int | None:
    """The whole cores that Linux grants to this process's control group; None without a limit.

    A container's limit (`--cpus`) is one. More threads than that would all be halted together for
    the rest of each tenth of a second, once they have used its share up.

    Args:
        cgroups: where version 2 of the control groups is mounted.
        own: tells the group of this process.
    """
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    group = next((line[3:].strip("/") for line in lines if line.startswith("0::")), None)
    if group is None:
        return None
    folders = [cgroups / group, *(cgroups / group).parents]
    within = folders[: folders.index(cgroups) + 1]  # a limit binds what is below it, too
    quotas = [quota for folder in within if (quota := _quota_of(folder)) is not None]
    return max(1, int(min(quotas))) if quotas else None


def _quota_of(folder: Path) -> float | None:
    """Cores by `cpu.max`: microseconds within a period, or `max`."""
    try:
        quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
        return int(quota) / int(period)
    except (OSError, ValueError):
        return None
