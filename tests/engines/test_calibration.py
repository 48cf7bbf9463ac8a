"""Pictures for calibration: which files of a folder count, and how they are seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from service.config import Settings
from service.engines.aoti.int8 import Int8Engine
from service.engines.calibration import MOST_PICTURES, calibration_pictures, plan_with_pictures
from service.errors import BadSetting
from service.images.contract import ImageLimits
from service.images.decode import decode
from service.images.preprocess import preprocess
from tests.running import grey, noise, png_of, tiny_model

CONTRACT = tiny_model().manifest.input


def settings_for(folder: Path) -> Settings:
    """The settings of a service that is to be calibrated by a folder."""
    return Settings(engine="int8", device="cpu", calibration_dir=folder, cache_dir=folder / "cache")


def test_pictures_are_seen_as_requests_images_are(tmp_path: Path) -> None:
    """Decoded and preprocessed by the same code, in the order of their names."""
    files = [png_of(noise(seed, side_px=40)) for seed in (1, 2)]
    for name, content in zip(("b.png", "a.png"), files, strict=True):
        (tmp_path / name).write_bytes(content)

    pictures = calibration_pictures(settings_for(tmp_path))

    assert pictures is not None
    limits = ImageLimits(10**6, 10**6)
    expected = [preprocess(decode(file, limits, CONTRACT), CONTRACT) for file in reversed(files)]
    np.testing.assert_array_equal(pictures.pixels(CONTRACT), np.stack(expected))


def test_what_is_no_picture_is_left_out(tmp_path: Path) -> None:
    """One such file stops nothing, a folder of them does."""
    (tmp_path / "a.txt").write_bytes(b"no picture")
    alone = calibration_pictures(settings_for(tmp_path))
    (tmp_path / "b.png").write_bytes(grey(90))
    beside = calibration_pictures(settings_for(tmp_path))

    assert alone is not None
    assert beside is not None
    assert beside.pixels(CONTRACT).shape == (1, 3, 32, 32)
    with pytest.raises(BadSetting, match=r"none of 1 files is a picture, e\.g\. .*a\.txt"):
        alone.pixels(CONTRACT)


def digest_of(folder: Path) -> str:
    """The digest of what a folder holds at this moment."""
    pictures = calibration_pictures(settings_for(folder))
    assert pictures is not None
    return pictures.digest


def test_the_digest_is_of_what_the_files_hold(tmp_path: Path) -> None:
    """Another name is no other picture, a changed byte is; hidden files and folders count not."""
    (tmp_path / "a.png").write_bytes(b"one")
    before = digest_of(tmp_path)

    (tmp_path / "a.png").rename(tmp_path / "renamed.png")
    (tmp_path / ".hidden").write_bytes(b"two")
    (tmp_path / "folder").mkdir()
    renamed = digest_of(tmp_path)
    (tmp_path / "renamed.png").write_bytes(b"two")
    changed = digest_of(tmp_path)

    assert renamed == before
    assert changed != before


def test_a_bounded_number_of_files_is_read(tmp_path: Path) -> None:
    """Of thousands some are taken of every kind, whether a kind is a folder or part of a name."""
    for kind in ("boot", "shirt"):
        (tmp_path / kind).mkdir()
        for number in range(MOST_PICTURES):
            (tmp_path / kind / f"{number:04}.png").touch()
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "x.png").touch()

    pictures = calibration_pictures(settings_for(tmp_path))

    assert pictures is not None
    assert len(pictures.files) == MOST_PICTURES
    assert len(set(pictures.files)) == MOST_PICTURES
    kinds = [path.parent.name for path in pictures.files]
    assert kinds.count("boot") == kinds.count("shirt") == MOST_PICTURES // 2


def test_a_folder_that_is_missing_or_empty_is_refused(tmp_path: Path) -> None:
    """One clear line before anything is loaded."""
    with pytest.raises(BadSetting, match=r"SGE_CALIBRATION_DIR=.*nowhere is no folder"):
        calibration_pictures(settings_for(tmp_path / "nowhere"))
    with pytest.raises(BadSetting, match=r"SGE_CALIBRATION_DIR=.* is empty"):
        calibration_pictures(settings_for(tmp_path))


def test_only_int8_looks_at_the_pictures(tmp_path: Path) -> None:
    """A folder that is gone does not stop a service on another engine."""
    gone = tmp_path / "gone"
    others = Settings(engine="eager", device="cpu", calibration_dir=gone, cache_dir=tmp_path)

    assert plan_with_pictures(tiny_model(), others).final.description.name == "eager"
    with pytest.raises(BadSetting, match="is no folder"):
        plan_with_pictures(tiny_model(), settings_for(gone))


def test_the_plan_gives_int8_its_pictures(tmp_path: Path) -> None:
    """It is built by them while the eager engine answers in fp32."""
    pytest.importorskip("torchao", reason="the extra int8 is not installed")
    (tmp_path / "a.png").write_bytes(grey(90))

    plan = plan_with_pictures(tiny_model(), settings_for(tmp_path))

    assert plan.first.description.precision == "fp32"
    assert plan.final.description.precision == "int8"
    assert isinstance(plan.final, Int8Engine)
    assert plan.final.calibration is not None
    assert plan.may_fall_back is False
