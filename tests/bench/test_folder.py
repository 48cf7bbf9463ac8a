"""A folder of pictures through `sge-serve predict`, beside its engine."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from service.commands.predicting.outcomes import Classified
from service.config import Settings
from service.errors import EngineFailed, UndecodableImage
from service.serving.pipeline import Result
from tests.bench.folder import FOLDER, Watch, bench_predict
from tests.bench.report import RATIOS
from tests.bench.service import ALONE
from tests.running import tiny_model

RIGHT = Classified(Path("0.jpg"), Result([], []))


@pytest.mark.slow
def test_the_engine_and_the_folder_get_a_row() -> None:
    """And the ratio that the command is judged by."""
    looks = itertools.count()
    settings = Settings(engine="eager", device="cpu", tiered=False, max_batch=4)

    report = bench_predict(
        tiny_model(), settings, {}, print, lambda: float(next(looks)), rounds=2, window_s=4
    )

    assert [row.label.model for row in report.rows] == [ALONE, FOLDER]
    assert [len(row.rounds) for row in report.rows] == [2, 2]
    assert set(report.ratios) <= set(RATIOS)
    assert None not in report.ratios.values()


def test_a_watch_notes_when_each_picture_was_known() -> None:
    """Pictures that came together share the time since those before."""
    moments = iter([0.0, 1.0, 3.0])
    watch = Watch(lambda: next(moments))

    watch.add([RIGHT])
    watch.add([RIGHT, RIGHT])

    assert watch.known == [(1.0, 1.0), (3.0, 1.0), (3.0, 1.0)]


def test_a_picture_that_is_not_classified_ends_the_run() -> None:
    """Errors would be quick."""
    with pytest.raises(EngineFailed, match=r"0\.jpg: damaged"):
        Watch(lambda: 0.0).add([Classified(Path("0.jpg"), UndecodableImage("damaged"))])
