"""How many cores a process may use, by files as Linux writes them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from service.config import Settings
from service.cores import core_quota, usable_cores
from service.engines.device import choose_threads
from service.serving.runtime import build_runtime
from service.store.load import StoreContents
from tests.running import tiny_model

HERE = len(os.sched_getaffinity(0))


def quota(tmp_path: Path, groups: str, files: dict[str, str]) -> int | None:
    """The quota by a process's groups and a tree of control groups."""
    own, tree = tmp_path / "own", tmp_path / "tree"
    own.write_text(groups)
    for name, content in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(content + "\n")
    return core_quota(tree, own)


@pytest.mark.parametrize(
    ("limit", "granted"),
    [
        ("200000 100000", 2),
        ("250000 100000", 2),
        ("50000 100000", 1),
        ("max 100000", None),
        ("", None),
    ],
)
def test_a_quota_is_whole_cores(tmp_path: Path, limit: str, granted: int | None) -> None:
    """As a container sees its own limit: at the root. Half a core is still one thread."""
    assert quota(tmp_path, "5:cpuset:/elsewhere\n0::/\n", {"cpu.max": limit}) == granted


def test_the_tightest_limit_on_the_way_up_counts(tmp_path: Path) -> None:
    """As of a systemd service within a slice."""
    limits = {
        "a/cpu.max": "300000 100000",
        "a/b/cpu.max": "max 100000",
        "a/b/c/cpu.max": "800000 100000",
    }

    assert quota(tmp_path, "0::/a/b/c\n", limits) == 3


@pytest.mark.parametrize(("granted", "expected"), [("150000", 1), ("400000", 4), ("-1", None)])
def test_the_first_version_is_read_as_well(
    tmp_path: Path, granted: str, expected: int | None
) -> None:
    """Its limit is in two files below its own mount; an empty second version stands beside it."""
    files = {"cpu/box/cpu.cfs_quota_us": granted, "cpu/box/cpu.cfs_period_us": "100000"}

    assert quota(tmp_path, "4:memory:/x\n3:cpu,cpuacct:/box\n0::/\n", files) == expected


def test_without_control_groups_there_is_no_quota(tmp_path: Path) -> None:
    """Other systems have no such file."""
    assert core_quota(tmp_path, tmp_path / "own") is None


@pytest.mark.parametrize(("granted", "usable"), [(None, HERE), (1, 1), (HERE + 5, HERE)])
def test_a_quota_narrows_the_cores(granted: int | None, usable: int) -> None:
    """And never widens them."""
    assert usable_cores(granted) == usable


def test_a_pass_takes_no_more_threads_than_its_quota() -> None:
    """Unless an operator says otherwise; without a quota torch's own default stays."""
    default = torch.get_num_threads()

    assert choose_threads(0, 1) == 1
    assert choose_threads(0, default + 5) == default
    assert choose_threads(0, None) == default
    assert choose_threads(default + 2, 1) == default + 2


@pytest.mark.parametrize(("wanted", "workers"), [(3, 3), (0, usable_cores(core_quota()))])
def test_as_many_pictures_are_decoded_at_once(wanted: int, workers: int) -> None:
    """One a usable core, or what the operator says."""
    settings = Settings(engine="stub", decode_workers=wanted)

    runtime = build_runtime(settings, StoreContents((tiny_model(),), ()))

    assert runtime.workers._max_workers == workers
    runtime.workers.shutdown()
