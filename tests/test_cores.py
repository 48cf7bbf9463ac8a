"""How many cores a process may use, by files as Linux writes them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from service import cores
from service.cores import core_quota, usable_cores
from service.engines.eager import EagerEngine
from tests.running import tiny_bundle


def quota(tmp_path: Path, group: str, limits: dict[str, str]) -> int | None:
    """The quota in a tree of control groups: `cpu.max` by folder."""
    own = tmp_path / "own"
    own.write_text(f"5:cpuset:/elsewhere\n0::/{group}\n")
    tree = tmp_path / "tree"
    for folder, limit in limits.items():
        (tree / folder).mkdir(parents=True, exist_ok=True)
        (tree / folder / "cpu.max").write_text(limit + "\n")
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
    assert quota(tmp_path, "", {"": limit}) == granted


def test_the_tightest_limit_on_the_way_up_counts(tmp_path: Path) -> None:
    """As of a systemd service within a slice."""
    limits = {"a": "300000 100000", "a/b": "max 100000", "a/b/c": "800000 100000"}

    assert quota(tmp_path, "a/b/c", limits) == 3


def test_without_control_groups_there_is_no_quota(tmp_path: Path) -> None:
    """Other systems, and Linux with the first version of them."""
    own = tmp_path / "own"
    assert core_quota(tmp_path, own) is None
    own.write_text("4:cpu:/a\n")
    assert core_quota(tmp_path, own) is None


def test_a_quota_narrows_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """And never widens them."""
    here = len(os.sched_getaffinity(0))
    for granted, expected in ((None, here), (1, 1), (here + 5, here)):
        monkeypatch.setattr(cores, "core_quota", lambda granted=granted: granted)
        assert usable_cores() == expected


def test_an_engine_computes_on_no_more_threads_than_its_quota(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Unless an operator says otherwise; without a quota torch's own default stays."""
    default = torch.get_num_threads()
    for granted, wanted, expected in (
        (1, 0, 1),
        (1, 2, 2),
        (default + 5, 0, default),
        (None, 0, 0),
    ):
        monkeypatch.setattr(
            "service.engines.torch_engine.core_quota", lambda granted=granted: granted
        )
        engine = EagerEngine(tiny_bundle(), torch.device("cpu"), "fp32", wanted)
        assert engine.threads == expected
