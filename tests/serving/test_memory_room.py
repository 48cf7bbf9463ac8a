"""What is free, and what a version takes, told from files and shapes."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.serving.memory_room import (
    compiler_bytes,
    free_memory_bytes,
    needed_bytes,
    why_too_little,
)
from tests.running import tiny_model
from tests.store_fixtures import tiny_network

NOWHERE = Path("/nowhere")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine with 1000 KiB to spare."""
    file = tmp_path / "meminfo"
    file.write_text("MemTotal: 9000 kB\nMemFree: 10 kB\nMemAvailable: 1000 kB\n")
    return file


def group(folder: Path, **files: str) -> Path:
    """Write a control group's files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)
    return folder


def own(tmp_path: Path, line: str) -> Path:
    """What the process says of its groups."""
    file = tmp_path / "own"
    file.write_text(line)
    return file


def test_without_groups_the_machine_tells(machine: Path) -> None:
    """As on a machine of one's own."""
    assert free_memory_bytes(machine, NOWHERE, NOWHERE) == 1000 * 1024


def test_a_groups_limit_counts_and_what_files_hold_is_free(machine: Path, tmp_path: Path) -> None:
    """Of every group up to the root, of version 2; one without a limit says nothing."""
    root = group(tmp_path / "cg", memory__max="500000", memory__current="100000")
    stat = "anon 7\ninactive_file 2000\n"
    group(root / "a", memory__max="90000", memory__current="80000", memory__stat=stat)
    group(root / "a" / "b", memory__max="max", memory__current="80000")

    assert free_memory_bytes(machine, root, own(tmp_path, "0::/a/b\n")) == 12_000


def test_version_1_has_other_names(machine: Path, tmp_path: Path) -> None:
    """As on older clusters."""
    files = {"memory__limit_in_bytes": "900", "memory__usage_in_bytes": "400"}
    group(tmp_path / "cg" / "memory" / "a", **files)

    free = free_memory_bytes(machine, tmp_path / "cg", own(tmp_path, "3:cpu:/x\n4:memory:/a\n"))

    assert free == 500


def test_where_nothing_tells_nobody_knows() -> None:
    """And then nothing is refused for it."""
    assert free_memory_bytes(NOWHERE, NOWHERE, NOWHERE) is None
    assert why_too_little(1, "beside what is served", None) is None


def test_what_a_version_takes_follows_from_its_manifest() -> None:
    """Its weights, as often as its engine has them, and eight of the largest maps of a batch."""
    manifest = tiny_model().manifest
    weights = sum(value.nbytes for value in tiny_network().state_dict().values())

    map_bytes = 4 * 64 * 16 * 16  # after the stem

    assert needed_bytes(manifest, "eager", 5) == 3 * weights + 8 * 5 * map_bytes
    assert compiler_bytes(manifest) == (1200 << 20) + 10 * weights


def test_a_reason_has_both_numbers() -> None:
    """What it takes, and what is free."""
    assert why_too_little(128 << 20, "to compile", 128 << 20) is None
    assert why_too_little(128 << 20, "to compile", 100 << 20) == (
        "it may take 128 MiB to compile, 100 MiB of memory are free"
    )
