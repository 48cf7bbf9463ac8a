"""`make bench ARGS=decode` on small pictures and a clock of its own."""

from __future__ import annotations

import itertools
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms.functional import center_crop, resize

from tests.bench.decode import IMAGENET, bench_decode, mean_difference, ours, pillow
from tests.bench.pictures import jpeg, scenery
from tests.bench.report import Label, Ratio
from tests.bench.rounds import Pace
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


def test_a_mean_difference_is_not_wrapped_around() -> None:
    """uint8 arithmetic would make 250 out of 0 - 6."""
    one, other = np.zeros((3, 2, 2), np.uint8), np.full((3, 2, 2), 6, np.uint8)

    assert mean_difference(one, other) == 6.0


def test_a_report_compares_both_ways(tmp_path: Path) -> None:
    """Rows, ratios and agreement of the made pictures and of those in a folder."""
    (tmp_path / "a.png").write_bytes(png_of(noise(1)))
    (tmp_path / "notes.txt").write_text("no picture")
    ticks = itertools.count()
    pace = Pace(rounds=1, until=0.0, turn_s=1.0)

    report = bench_decode(pace, {}, lambda: float(next(ticks)), model=tiny_model(), folder=tmp_path)

    assert [row.label for row in report.rows] == [
        Label(way, picture, "uint8", 1)
        for picture in ("jpeg 500x375", "jpeg 12 MP")
        for way in ("ours", "pillow")
    ]
    assert report.ratios == {
        "decode_over_pillow_jpeg_500x375": Ratio(1.0, 1.0, 1.0),
        "decode_over_pillow_jpeg_12_MP": Ratio(1.0, 1.0, 1.0),
    }
    assert report.agreement["given pictures, same top-1"] == 1.0
    assert report.agreement["given pictures"] == pytest.approx(0.0)
    assert [absent.name for absent in report.absent] == ["notes.txt"]
