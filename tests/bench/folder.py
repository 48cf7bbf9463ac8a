"""`make bench ARGS=predict`: a folder of JPEGs through `sge-serve predict`, and its engine."""

from __future__ import annotations

import asyncio
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from service.commands.predict import PredictArguments, Prediction
from service.commands.predicting.outcomes import Classified
from service.config import Settings
from service.errors import EngineFailed, ServiceError
from service.results.query import PredictQuery
from service.serving.runtime import build_runtime_for_many
from service.store.load import LoadedModel, StoreContents
from tests.bench.entrants import Note
from tests.bench.pictures import jpeg
from tests.bench.ratios import over
from tests.bench.report import Label, Report
from tests.bench.rounds import Clock, note_on_rounds
from tests.bench.service import ALONE, Window, engine_run, row_of_windows, run_alone, window_of

FOLDER = "jpeg, folder"


class Watch:
    """Takes outcomes, and notes when each was known.

    Args:
        clock: tells seconds.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.known: list[tuple[float, float]] = []

    def add(self, classified: Sequence[Classified]) -> None:
        """Note some.

        Raises:
            EngineFailed: one is an error, whose rate would look like speed.
        """
        for one in classified:
            if isinstance(one.outcome, ServiceError):
                raise EngineFailed(f"{one.file.name}: {one.outcome.message}")
        before = self.known[-1][0] if self.known else self._clock()
        now = self._clock()
        self.known += [(now, (now - before) / len(classified))] * len(classified)

    def end(self) -> None:
        """Nothing is left."""


def bench_predict(
    model: LoadedModel,
    settings: Settings,
    machine: Mapping[str, Any],
    note: Note,
    clock: Clock,
    *,
    rounds: int,
    window_s: float,
) -> Report:
    """Measure the engine alone and the command around it, by turns.

    The folder holds as many pictures as the engine runs in a window.

    Raises:
        EngineFailed: the engine cannot run, or a picture is not classified.
    """
    with tempfile.TemporaryDirectory(prefix="sge-bench-") as name:
        folder = Path(name)
        runtime = build_runtime_for_many(settings, StoreContents((model,), ()))
        asked = PredictArguments((folder,), PredictQuery(), jsonl=folder / "rows.jsonl")
        prediction = Prediction(runtime, asked, note, note)
        windows = asyncio.run(_windows(prediction, folder, rounds, window_s, clock))
        (served,) = runtime.models
        ran = served.engine
    labels = {name: Label(ran.name, name, ran.precision, settings.max_batch) for name in windows}
    rows = tuple(row_of_windows(labels[name], found) for name, found in windows.items())
    ratios = {"predict_over_engine_jpeg": over(rows, labels[FOLDER], labels[ALONE])}
    notes = (
        note_on_rounds(rows),
        f"a round is {window_s:g} s of the engine alone, then as many pictures of 500x375",
        "the first batch of a folder is left out",
    )
    return Report(machine, rows, ratios, notes=notes)


async def _windows(
    prediction: Prediction, folder: Path, rounds: int, window_s: float, clock: Clock
) -> dict[str, list[Window]]:
    model, batch = prediction.model, prediction.model.max_batch
    windows: dict[str, list[Window]] = {ALONE: [], FOLDER: []}
    await prediction.start()
    try:
        alone = engine_run(model.batcher.engine, batch, model.loaded.manifest.input)
        for number in range(rounds):
            timed = await model.device.run(run_alone, alone, batch, window_s, clock)
            windows[ALONE].append(timed.result)
            if number == 0:
                _fill(folder, max(3 * batch, math.ceil(timed.result.images_per_s * window_s)))
            watch = Watch(clock)
            await prediction.add_all(set(), watch)
            windows[FOLDER].append(window_of(watch.known, warm_up=batch))
    finally:
        await prediction.stop()
    return windows


def _fill(folder: Path, count: int) -> None:
    first = folder / "0.jpg"
    first.write_bytes(jpeg(500, 375))
    for number in range(1, count):
        (folder / f"{number}.jpg").hardlink_to(first)
