"""How many cores a process may use; torch and Python look at those of the machine."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")
QUOTA_FILES = {1: ("cpu.cfs_quota_us", "cpu.cfs_period_us"), 2: ("cpu.max",)}


def usable_cores(quota: int | None) -> int:
    """The cores that this process may run on, and no more than a quota of processor time.

    Args:
        quota: from `core_quota`.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(cores or 1, quota or cores or 1)


def core_quota(cgroups: Path = CGROUPS, own: Path = OWN_CGROUPS) -> int | None:
    """The whole cores that Linux grants to this process's control group; None without a limit.

    A container's limit (`--cpus`) is one. More threads than that would all be halted together for
    the rest of each tenth of a second, once they have used its share up.

    Args:
        cgroups: where the control groups are mounted, of either version.
        own: tells the groups of this process.
    """
    quotas = [
        quota
        for number, place in control_groups("cpu", cgroups, own)
        for quota in _quota_of(place / file for file in QUOTA_FILES[number])
    ]
    return max(1, int(min(quotas))) if quotas else None


def control_groups(
    controller: str, cgroups: Path = CGROUPS, own: Path = OWN_CGROUPS
) -> Iterator[tuple[int, Path]]:
    """The groups of this process, each up to its root: a limit binds what is below it, too.

    Args:
        controller: what they limit, such as `cpu`.
        cgroups: where the control groups are mounted, of either version.
        own: tells the groups of this process.

    Returns:
        The version of each group, 1 or 2, and its folder.
    """
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for number, controllers, group in (line.split(":", 2) for line in lines):
        if number == "0":
            yield from _up_to_root(2, cgroups, group)
        elif controller in controllers.split(","):
            yield from _up_to_root(1, cgroups / controller, group)


def _up_to_root(version: int, root: Path, group: str) -> Iterator[tuple[int, Path]]:
    folder = root / group.strip("/")
    for place in (folder, *folder.parents):
        yield version, place
        if place == root:
            return


def _quota_of(files: Iterable[Path]) -> Iterator[float]:
    """Cores by microseconds granted within a period; nothing where they are `max` or -1."""
    try:
        words = [word for file in files for word in file.read_text(encoding="utf-8").split()]
        granted, period = map(int, words)
    except (OSError, ValueError):
        return
    if granted > 0:
        yield granted / period
