"""`bench decode` on small pictures and a clock of its own."""

from __future__ import annotations

import itertools
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms.functional import center_crop, resize

from tests.bench.decode import (
    IMAGENET,
    DecodeBench,
    bench_decode,
    mean_difference,
    ours,
    pillow,
    same_top1,
)
from tests.bench.pictures import bmp, jpeg, scenery
from tests.bench.report import Absent
from tests.bench.rounds import Pace
from tests.bench.test_report import MACHINE
from tests.running import noise, png_of, tiny_model


def test_pillows_way_is_torchvisions_recipe() -> None:
    """The reference is the published evaluation: every pixel decoded, scaled whole, cut out."""
    file = jpeg(500, 375)
    picture = Image.open(BytesIO(file))
    expected = np.asarray(center_crop(resize(picture, [256]), [224]))  # type: ignore[arg-type]

    square = pillow(file, IMAGENET)

    np.testing.assert_array_equal(square, expected.transpose(2, 0, 1))


def test_our_way_is_close_to_it() -> None:
    """The mean difference stays below the 2 of 255 that is promised."""
    file = jpeg(2400, 1800)  # large enough to be scaled while it is decoded

    difference = mean_difference(ours(file, IMAGENET), pillow(file, IMAGENET))

    assert 0 < difference < 2


def test_pictures_are_like_photographs() -> None:
    """Neighbours resemble each other, and compression finds about as much as in photographs."""
    picture = scenery(500, 375).astype(int)

    step = np.abs(np.diff(picture, axis=1)).mean()

    assert 1 < step < 20
    assert 30_000 < len(jpeg(500, 375)) < 150_000
    assert len(bmp(64)) > 3 * 64 * 64


def test_a_mean_difference_is_not_wrapped_around() -> None:
    """uint8 arithmetic would make 250 out of 0 - 6."""
    one, other = np.zeros((3, 2, 2), np.uint8), np.full((3, 2, 2), 6, np.uint8)

    assert mean_difference(one, other) == 6.0


def test_same_top1_is_a_share() -> None:
    """Pairs of the same pixels have the same class, whatever the model."""
    rows = [noise(seed).transpose(2, 0, 1).copy() for seed in range(3)]

    assert same_top1(tiny_model(), [(row, row) for row in rows]) == 1.0


def test_a_report_compares_both_ways(tmp_path: Path) -> None:
    """Rows, ratios and agreement of the made pictures and of those in a folder."""
    (tmp_path / "a.png").write_bytes(png_of(noise(1)))
    (tmp_path / "notes.txt").write_text("no picture")
    ticks = itertools.count()
    wanted = DecodeBench(Pace(rounds=1, until=0.0, turn_s=1.0), tiny_model(), tmp_path)

    report = bench_decode(wanted, MACHINE, lambda: float(next(ticks)))

    assert [(row.label.engine, row.label.model) for row in report.rows] == [
        ("ours", "jpeg 500x375"),
        ("pillow", "jpeg 500x375"),
        ("ours", "jpeg 12 MP"),
        ("pillow", "jpeg 12 MP"),
    ]
    assert report.ratios == {
        "decode_over_pillow_jpeg_500x375": 1.0,
        "decode_over_pillow_jpeg_12_MP": 1.0,
    }
    assert report.agreement["given pictures, same top-1"] == 1.0
    assert report.agreement["given pictures"] == pytest.approx(0.0)
    assert [absent.name for absent in report.absent] == ["notes.txt"]
    assert isinstance(report.absent[0], Absent)
