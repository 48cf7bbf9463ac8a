"""Whether a new version fits into memory beside what is served, told before it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from service.config import EngineName
from service.cores import CGROUPS, OWN_CGROUPS, control_groups
from service.model.shapes import shapes_alone
from service.store.manifest import Manifest

MEMORY_OF_MACHINE = Path("/proc/meminfo")
LIMIT_FILES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}
# Of the weights, while a version comes up: its file, the network and what its engine makes of
# them. A package for a CPU holds them up to six times, most of them for Winograd's method.
COPIES: dict[EngineName, int] = {
    "stub": 2,
    "eager": 3,
    "int8": 5,
    "tensorrt": 5,
    "compiled": 8,
    "auto": 8,
}
MIB = 1 << 20

MAPS = 8  # of the largest size that a forward pass holds at a time, and what lies between them
COMPILER_COPIES = 10  # of the weights, of a process that compiles
COMPILER_BYTES = 1_200 * MIB  # of torch's compiler and the one for C++, whatever they compile

FreeBytes = Callable[[], int | None]


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory of the machine, as a service sees it.

    Attributes:
        free_bytes: tells what is free; None where nobody knows.
        tidy_up: gives back what is not needed any more, after a version has left.
    """

    free_bytes: FreeBytes = field(default_factory=lambda: free_memory_bytes)
    tidy_up: Callable[[], None] = lambda: None


def needed_bytes(manifest: Manifest, engine: EngineName, max_batch: int) -> int:
    """The memory that a version takes while it comes up, by the shapes that its manifest states.

    Its weights, as often as its engine has them, and the maps of its largest batch. The most that
    it may be.
    """
    map_bytes = 4 * manifest.spec.largest_map_values
    return COPIES[engine] * _weight_bytes(manifest) + MAPS * max_batch * map_bytes


def compiler_bytes(manifest: Manifest) -> int:
    """The memory that the processes take which compile a version."""
    return COMPILER_BYTES + COMPILER_COPIES * _weight_bytes(manifest)


def _weight_bytes(manifest: Manifest) -> int:
    weights = shapes_alone(manifest.spec).state_dict().values()
    return sum(value.nbytes for value in weights)


def why_too_little(needed: int, what_for: str, free: int | None) -> str | None:
    """Say that there is too little memory, with the numbers; None if not, or if nobody knows."""
    if free is None or needed <= free:
        return None
    return f"it may take {needed / MIB:.0f} MiB {what_for}, {free / MIB:.0f} MiB of memory are free"


def free_memory_bytes(
    machine: Path = MEMORY_OF_MACHINE, cgroups: Path = CGROUPS, own: Path = OWN_CGROUPS
) -> int | None:
    """What is free in the machine and in every control group of this process; None: unknown.

    What files have in memory that nobody reads just now counts as free.

    Args:
        machine: tells the memory of the machine.
        cgroups: where the control groups are mounted, of either version.
        own: tells the groups of this process.
    """
    free = [*_available(machine)]
    for version, place in control_groups("memory", cgroups, own):
        free += _left_in(place, *LIMIT_FILES[version])
    return max(0, min(free)) if free else None


def _available(machine: Path) -> Iterator[int]:
    """`MemAvailable` in bytes; nothing where the machine does not tell."""
    yield from (number * 1024 for number in _numbers(machine, "MemAvailable:"))


def _left_in(group: Path, limit: str, usage: str, inactive: str) -> Iterator[int]:
    """What is left of a group's limit; nothing where it has none."""
    try:
        limit_bytes = int((group / limit).read_text(encoding="ascii"))
        used_bytes = int((group / usage).read_text(encoding="ascii"))
    except (OSError, ValueError):  # the latter of `max`
        return
    yield limit_bytes - used_bytes + sum(_numbers(group / "memory.stat", inactive))


def _numbers(file: Path, name: str) -> Iterator[int]:
    """The number that follows a name at the start of a line."""
    try:
        lines = file.read_text(encoding="ascii").splitlines()
    except OSError:
        return
    for line in lines:
        words = line.split()
        if words[:1] == [name]:
            yield int(words[1])
