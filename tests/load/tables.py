"""The report as tables, and as text for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.load.report import Report, span
from tests.load.sender import Answer
from tests.load.step import Step
from tests.load.users import Crowd
from tests.load.verdicts import compare

Column = tuple[str, Callable[[Step], str]]

COLUMNS: tuple[Column, ...] = (
    ("due/s", lambda step: f"{step.rate:.1f}"),
    ("in time/s", lambda step: f"{step.goodput:.1f}"),
    ("in time", lambda step: f"{step.share_in_time:.1%}"),
    ("p50 ms", lambda step: f"{step.latency.p50_ms:.0f}"),
    ("p90 ms", lambda step: f"{step.latency.p90_ms:.0f}"),
    ("p99 ms", lambda step: f"{step.latency.p99_ms:.0f}"),
    ("max ms", lambda step: f"{step.latency.max_ms:.0f}"),
    ("batch", lambda step: f"{step.service.batch_size.mean:.1f}"),
    ("queue ms", lambda step: f"{step.service.phases['queue'].mean * 1000:.0f}"),
    ("infer ms", lambda step: f"{step.service.phases['infer'].mean * 1000:.0f}"),
    ("server cores", lambda step: _number(step.cores.server, 2)),
    ("images/s a core", lambda step: _number(step.images_per_core, 1)),
    ("client cores", lambda step: _number(step.cores.client, 2)),
)

COMPARED = ("due/s", "answers", "mean ms", "p50 ms", "p90 ms", "p99 ms", "agree")
CROWD = ("kind", "requests", "requests/s", "failed", "p50 ms", "p90 ms", "p99 ms")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, aligned to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]
    lines = [header, ["-" * (width - 1) + ":" for width in widths], *rows]
    return "\n".join(
        "| "
        + " | ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    )


def step_rows(steps: Sequence[Step]) -> list[list[str]]:
    """The cells of `COLUMNS`, a row a step."""
    return [[cell(step) for _, cell in COLUMNS] for step in steps]


def comparison_rows(steps: Sequence[Step]) -> list[list[str]]:
    """Client / service, a row a step; of a quantile the service knows only its bucket."""
    return [_compared(step) for step in steps]


def _compared(step: Step) -> list[str]:
    rows = {row.name: row for row in compare(step)}
    cells = [
        f"{row.client:.1f} / {span(row.service_low, row.service_high)}" if row else "-"
        for row in map(rows.get, COMPARED[1:-1])
    ]
    agree = all(row.agrees for row in rows.values())
    return [f"{step.rate:.1f}", *cells, "yes" if agree else "NO"]


def crowd_rows(crowd: Crowd) -> list[list[str]]:
    """What closed-loop users saw, a row a kind."""
    return [
        [
            seen.kind,
            f"{seen.requests}",
            f"{seen.requests / crowd.duration_s:.1f}",
            f"{seen.failures}",
            *(f"{seen.quantile_ms(share):.0f}" for share in (0.5, 0.9, 0.99)),
        ]
        for seen in crowd.seen
    ]


def as_text(report: Report) -> str:
    """The report for a terminal."""
    parts = []
    if report.crowd:
        title = f"{report.crowd.users} users in closed loop for {report.crowd.duration_s:g} s"
        parts.append(f"{title}\n\n{table(CROWD, crowd_rows(report.crowd))}")
    if report.sweep:
        for kind in report.sweep.plan.arrivals:
            steps = report.sweep.steps_of(kind)
            header = [name for name, _ in COLUMNS]
            parts.append(f"open loop, {kind} arrivals\n\n{table(header, step_rows(steps))}")
            parts.append(
                f"client and service side by side, {kind} arrivals\n\n"
                f"{table(COMPARED, comparison_rows(steps))}"
            )
            parts.append(_losses(steps))
    parts.append("\n".join(report.notes()))
    return "\n\n".join(part for part in parts if part)


def _losses(steps: Sequence[Step]) -> str:
    """One line per step that has answers other than ok."""
    return "\n".join(
        f"{step.rate:.1f}/s: "
        + ", ".join(
            f"{count} {answer}"
            for answer, count in step.answers.items()
            if count and answer is not Answer.OK
        )
        for step in steps
        if step.answers[Answer.OK] != step.sent
    )


def _number(number: float | None, digits: int) -> str:
    return "-" if number is None else f"{number:.{digits}f}"
