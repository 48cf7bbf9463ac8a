"""A report's rows as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from service.errors import BadSetting
from tests.bench.extra import import_extra
from tests.bench.report import Report, Row

BAR = 0.28  # inches of height
WIDTH = 9.0


def save_plot(report: Report, path: Path) -> None:
    """Draw a panel a batch size: one bar a row, its colour the form of the network.

    Raises:
        BadSetting: matplotlib is not installed, or the file cannot be written.
    """
    figures = import_extra("matplotlib.figure")
    batches = sorted({row.label.batch for row in report.rows})
    panels = [[row for row in report.rows if row.label.batch == batch] for batch in batches]
    height = sum(BAR * len(panel) + 0.9 for panel in panels) + 0.6
    figure = figures.Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots(
        len(panels), 1, squeeze=False, height_ratios=[len(panel) + 2 for panel in panels]
    )
    colours = _colours(report.rows)
    for axis, batch, panel in zip(axes[:, 0], batches, panels, strict=True):
        _draw(axis, f"batch {batch}", panel, colours)
    figure.suptitle(report.machine.cpu, fontsize=10)
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:  # no such folder, or an ending that is no format
        raise BadSetting(f"--plot {path} cannot be written: {error}") from error


def _colours(rows: Sequence[Row]) -> dict[str, str]:
    models = list(dict.fromkeys(row.label.model for row in rows))
    return {model: f"C{number % 10}" for number, model in enumerate(models)}


def _draw(axis: Any, title: str, rows: Sequence[Row], colours: dict[str, str]) -> None:
    names = [f"{row.label.engine} {row.label.precision}, {row.label.model}" for row in rows]
    bars = axis.barh(
        names,
        [row.images_per_s for row in rows],
        color=[colours[row.label.model] for row in rows],
    )
    axis.bar_label(bars, fmt="%.1f", padding=3, fontsize=8)
    axis.invert_yaxis()
    axis.margins(x=0.1)
    axis.tick_params(labelsize=8)
    axis.set_title(title, fontsize=9, loc="left")
    axis.set_xlabel("images/s", fontsize=8)
