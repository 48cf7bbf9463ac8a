"""Everything that an evaluation found, as one record: what is printed, written and drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.evaluation.figures import (
    Calibration,
    ClassFigures,
    Share,
    calibrate,
    confusion,
    per_class,
    top,
    wilson,
)
from service.evaluation.outcomes import Outcomes
from service.evaluation.tally import Slow, Tally, Unreadable, Wrong

FIVE = 5


@dataclass(frozen=True, slots=True)
class EngineSpeed:
    """An engine and its speed, as whoever ran it tells.

    Attributes:
        engine, precision, device: what it is.
        batch: images of its batches.
        images_per_s: of its passes alone, pictures being decoded by the same cores beside it.
    """

    engine: str
    precision: str
    device: str
    batch: int
    images_per_s: float


@dataclass(frozen=True, slots=True)
class EngineFigures:
    """How right one engine is.

    Attributes:
        speed: what it is, and how fast.
        top1: share of pictures whose best class is the true one.
        top5: whose true class is among the best five; None where there are no more classes.
        calibration_error: expected calibration error, 15 bins of equal width.
        agreement: share of pictures whose best class is the reference's; None for itself.
        largest_difference: of a score from the reference's; None for itself.
    """

    speed: EngineSpeed
    top1: Share
    top5: Share | None
    calibration_error: float
    agreement: Share | None
    largest_difference: float | None


@dataclass(frozen=True, slots=True)
class Confused:
    """Pictures of one class that were predicted as a class, the same one included."""

    truth: int
    predicted: int
    count: int


@dataclass(frozen=True, slots=True)
class Report:
    """What an evaluation found; all but `engines` is by the first engine.

    Attributes:
        model: its name and version.
        folder: that was evaluated.
        pictures: that were.
        reference: the engine with which others are compared.
        engines: in the order they were asked for.
        classes: all of the model's.
        calibration: bins of confidence.
        confusion: cells that are not 0, the largest first.
        wrong: most confidently wrong first.
        slowest: longest first.
        unreadable: files that could not be evaluated.
    """

    model: str
    folder: str
    pictures: int
    reference: str
    engines: tuple[EngineFigures, ...]
    classes: tuple[ClassFigures, ...]
    calibration: Calibration
    confusion: tuple[Confused, ...]
    wrong: tuple[Wrong, ...]
    slowest: tuple[Slow, ...]
    unreadable: tuple[Unreadable, ...]


def build_report(
    model: str, folder: str, labels: tuple[str, ...], tally: Tally, speeds: Sequence[EngineSpeed]
) -> Report:
    """Work out the figures.

    Args:
        model: its key.
        folder: as it is shown.
        labels: K of them.
        tally: of at least one picture.
        speeds: of each engine of the tally.
    """
    outcomes = tally.outcomes(0)
    table = confusion(outcomes, len(labels))
    return Report(
        model,
        folder,
        tally.count,
        tally.engines[tally.reference],
        tuple(_engine(tally, n, speed, len(labels)) for n, speed in enumerate(speeds)),
        per_class(table, labels),
        calibrate(outcomes),
        _cells(table),
        tuple(wrong for wrong, _ in tally.wrong()),
        tuple(tally.slowest()),
        tuple(tally.unreadable),
    )


def _engine(tally: Tally, engine: int, speed: EngineSpeed, classes: int) -> EngineFigures:
    outcomes: Outcomes = tally.outcomes(engine)
    both = tally.agreements[engine]
    is_reference = engine == tally.reference
    return EngineFigures(
        speed,
        top(outcomes, 1),
        top(outcomes, FIVE) if classes > FIVE else None,
        calibrate(outcomes).error,
        None if is_reference else wilson(both.same, both.pictures),
        None if is_reference else both.largest_difference,
    )


def _cells(table: NDArray[np.int64]) -> tuple[Confused, ...]:
    rows, columns = np.nonzero(table)
    cells = [Confused(int(r), int(c), int(table[r, c])) for r, c in zip(rows, columns, strict=True)]
    return tuple(sorted(cells, key=lambda cell: (-cell.count, cell.truth, cell.predicted)))
