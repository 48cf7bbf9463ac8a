"""What a bench found: as a JSON document, as text for a terminal and as a picture."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tests.load.tables import table

RATIOS = (
    "sge_over_plain_b8",
    "ours_over_best_peer_b1",
    "ours_over_best_peer_b8",
    "ours_over_best_peer_b32",
    "int8_over_openvino_int8_b8",
    "shipped_over_onnxruntime_b1",
    "shipped_over_onnxruntime_b16",
    "best_over_best_peer_b8",
    "effective_over_peak_b8",
    "service_over_engine_tensor",
    "service_over_engine_jpeg",
    "grpc_over_http_tensor",
    "predict_over_engine_jpeg",
    "masks_last_cost",
    "masks_all_cost",
    "attribution_cost",
)
"""The ratios that every report names; one that a run did not measure is null."""

WIDTH = 100  # columns of text
PLOT_WIDTH, BAR = 9.0, 0.28  # inches, of which a bar is high


@dataclass(frozen=True, slots=True)
class Label:
    """What a row is about.

    Attributes:
        engine: what ran.
        model: which form of the network, or which picture.
        precision: `fp32`, `bf16`, `fp16`, `int8`; `uint8` where nothing but pixels is computed.
        batch: images at a time.
    """

    engine: str
    model: str
    precision: str
    batch: int


@dataclass(frozen=True, slots=True)
class Row:
    """How fast something ran.

    Attributes:
        label: what it is about.
        rounds: images a second, one number a round; rounds of rows of a report belong together.
        ms_p50: the median time of a run.
    """

    label: Label
    rounds: tuple[float, ...]
    ms_p50: float

    @property
    def images_per_s(self) -> float:
        """Of the median round."""
        return statistics.median(self.rounds)


@dataclass(frozen=True, slots=True)
class Ratio:
    """The median over rounds of the rounds' own ratios, and the rounds furthest from it."""

    value: float
    lowest: float
    highest: float


@dataclass(frozen=True, slots=True)
class StartUp:
    """What starting the service cost.

    Attributes:
        engine: the engine that was waited for.
        cache: what the folder of compiled engines held: `empty` or `full`.
        ready_s: from the start of the process until its engine was warm.
        answered_s: until the answer to the first picture.
        memory_peak_mb: of the process; None where the system does not tell.
    """

    engine: str
    cache: str
    ready_s: float
    answered_s: float
    memory_peak_mb: float | None


@dataclass(frozen=True, slots=True)
class Part:
    """What one kind of kernel takes of a forward pass.

    Attributes:
        model: which form of the network.
        name: of the kind.
        ms: of a pass, all kernels of the kind together.
        share: of the pass.
        gflops: 1e9 operations a second, where they are counted.
    """

    model: str
    name: str
    ms: float
    share: float
    gflops: float | None


@dataclass(frozen=True, slots=True)
class Absent:
    """What was to be measured and was not, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of one run.

    Attributes:
        machine: where it ran, as `machine.describe` says it.
        ratios: what was measured; the document adds the names of `RATIOS` that were not.
        parts: where the time of a forward pass goes.
        agreement: how far results are from their reference, by what was compared.
        notes: what a reader must know to read the figures.
    """

    machine: Mapping[str, Any]
    rows: tuple[Row, ...]
    ratios: Mapping[str, Ratio | None] = field(default_factory=dict)
    start_ups: Sequence[StartUp] = ()
    parts: Sequence[Part] = ()
    agreement: Mapping[str, float] = field(default_factory=dict)
    absent: Sequence[Absent] = ()
    notes: Sequence[str] = ()

    def document(self) -> dict[str, Any]:
        """What `--json` writes; `spreads` holds the lowest and highest round of each ratio."""
        ratios = {**dict.fromkeys(RATIOS), **self.ratios}
        found = {
            "rows": [
                asdict(row.label)
                | {"images_per_s": row.images_per_s, "ms_p50": row.ms_p50}
                | {"rounds_images_per_s": list(row.rounds)}
                for row in self.rows
            ],
            "ratios": {name: ratio and ratio.value for name, ratio in ratios.items()},
            "spreads": {
                name: ratio and [ratio.lowest, ratio.highest] for name, ratio in ratios.items()
            },
        }
        return found | {name: v for name, v in asdict(self).items() if name not in found}


def as_text(report: Report) -> str:
    """The document for a terminal: the machine, tables in Markdown, and what to know of them."""
    document = report.document()
    found = {name: value for name, value in document["ratios"].items() if value is not None}
    not_measured = ", ".join(name for name in RATIOS if name not in found)
    sections = (
        _wrapped(f"{name}: {_cell(value) or 'none'}" for name, value in report.machine.items()),
        _table([_with_range(row) for row in document["rows"]]) or "nothing was measured",
        _table(document["start_ups"]),
        _table(document["parts"]),
        _table(
            [
                {"ratio": name, "value": value, "rounds": document["spreads"][name]}
                for name, value in found.items()
            ]
        ),
        _table([{"agreement": n, "value": value} for n, value in report.agreement.items()]),
        _wrapped(_remarks(report, not_measured)),
    )
    return "\n\n".join(section for section in sections if section)


def _with_range(row: dict[str, Any]) -> dict[str, Any]:
    rounds = row.pop("rounds_images_per_s")
    return row | {"rounds": [min(rounds), max(rounds)]}


def _remarks(report: Report, not_measured: str) -> Iterator[str]:
    if not_measured:
        yield f"not measured: {not_measured}"
    for absent in report.absent:
        yield f"absent: {absent.name}: {absent.reason}"
    for note in report.notes:
        yield f"note: {note}"


def _table(records: Sequence[Mapping[str, Any]]) -> str:
    """One line a record, under the names of the fields."""
    cells = [[_cell(value) for value in record.values()] for record in records]
    return table(list(records[0]), cells) if records else ""


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case float():
            return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"
        case [float() as lowest, float() as highest]:
            return f"{_cell(lowest)} to {_cell(highest)}"
        case list() | tuple():
            return " ".join(map(str, value))
        case dict():
            return ", ".join(f"{name} {_cell(part)}" for name, part in value.items())
    return str(value)


def _wrapped(lines: Iterator[str]) -> str:
    return "\n".join(
        textwrap.fill(line, WIDTH, subsequent_indent="  ", break_on_hyphens=False) for line in lines
    )


def save_plot(report: Report, path: Path) -> None:
    """Draw a panel a batch size: one bar a row, its colour the form of the network.

    Raises:
        OSError: the file cannot be written.
        ValueError: its ending is that of no picture.
    """
    batches = sorted({row.label.batch for row in report.rows})
    panels = [[row for row in report.rows if row.label.batch == batch] for batch in batches]
    height = sum(BAR * len(panel) + 0.9 for panel in panels) + 0.6
    figure = Figure(figsize=(PLOT_WIDTH, height), layout="constrained")
    axes = figure.subplots(
        len(panels), 1, squeeze=False, height_ratios=[len(panel) + 2 for panel in panels]
    )
    models = dict.fromkeys(row.label.model for row in report.rows)
    colours = {model: f"C{number % 10}" for number, model in enumerate(models)}
    for axis, batch, panel in zip(axes[:, 0], batches, panels, strict=True):
        _draw(axis, panel, colours)
        axis.set_title(f"batch {batch}", fontsize=9, loc="left")
    figure.suptitle(report.machine["cpu"], fontsize=10)
    figure.savefig(path, dpi=120)


def _draw(axis: Axes, rows: Sequence[Row], colours: dict[str, str]) -> None:
    bars = axis.barh(
        [f"{row.label.engine} {row.label.precision}, {row.label.model}" for row in rows],
        [row.images_per_s for row in rows],
        color=[colours[row.label.model] for row in rows],
    )
    axis.bar_label(bars, fmt="%.1f", padding=3, fontsize=8)
    axis.invert_yaxis()
    axis.margins(x=0.1)
    axis.tick_params(labelsize=8)
    axis.set_xlabel("images/s", fontsize=8)
