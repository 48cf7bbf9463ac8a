"""What other processes build for a bench meanwhile."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from service.errors import EngineFailed
from tests.bench.ahead import CALIBRATION_IMAGES, Kind, build_ahead, write_noise

COMPILED: Kind = ("compiled", "fp32")
INT8: Kind = ("int8", "int8")


def test_builds_begin_at_once_and_go_on_one_after_another(tmp_path: Path) -> None:
    """Each fills the folder; who needs one waits for that one alone."""
    may_end = threading.Event()
    seen: list[tuple[str, Path]] = []

    def last(folder: Path) -> None:
        may_end.wait()
        seen.append(("last", folder))

    ahead = build_ahead(
        {COMPILED: lambda folder: seen.append(("first", folder)), INT8: last}, tmp_path
    )

    ahead[COMPILED](tmp_path)
    assert seen == [("first", tmp_path)]
    may_end.set()
    ahead[INT8](tmp_path)
    assert seen == [("first", tmp_path), ("last", tmp_path)]


def test_who_waits_is_told_of_a_failure(tmp_path: Path) -> None:
    """The next build goes on; waiting for the end alone says nothing of how it was."""
    seen: list[Path] = []

    def fail(_: Path) -> None:
        raise EngineFailed("no compiler")

    ahead = build_ahead({COMPILED: fail, INT8: seen.append}, tmp_path)

    with pytest.raises(EngineFailed, match="no compiler"):
        ahead[COMPILED](tmp_path)
    ahead[COMPILED].wait()
    ahead[INT8].wait()
    assert seen == [tmp_path]


def test_noise_is_the_same_each_time(tmp_path: Path) -> None:
    """Pictures that differ from each other, of the size that was asked for."""
    one, other = (write_noise(tmp_path / name, 16) for name in ("one", "other"))

    pictures = [np.asarray(Image.open(path)) for path in sorted(one.iterdir())]
    again = [np.asarray(Image.open(path)) for path in sorted(other.iterdir())]
    np.testing.assert_array_equal(pictures, again)
    assert np.shape(pictures) == (CALIBRATION_IMAGES, 16, 16, 3)
    assert len({picture.tobytes() for picture in pictures}) == CALIBRATION_IMAGES
