"""The report as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from tests.load.plots import as_svg
from tests.load.report import Report
from tests.load.tables import (
    COLUMNS,
    COMPARED,
    CROWD,
    comparison_rows,
    crowd_rows,
    step_rows,
)

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0 }
th, td { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid #ddd }
svg { max-width: 100%; height: auto }
"""


def as_html(report: Report) -> str:
    """Return the page: notes, plots, every table."""
    title = f"Load test of {report.model['name']} {report.model['version']}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        "<ul>" + "".join(f"<li>{escape(note)}</li>" for note in report.notes()) + "</ul>",
        f"<p>{escape(_circumstances(report))}</p>",
    ]
    if report.sweep:
        parts.append(as_svg(report.sweep))
        for kind in report.sweep.plan.arrivals:
            steps = report.sweep.steps_of(kind)
            parts.append(f"<h2>Open loop, {kind} arrivals</h2>")
            parts.append(_table([name for name, _ in COLUMNS], step_rows(steps)))
            parts.append(f"<h3>Client and service side by side, {kind} arrivals</h3>")
            parts.append(_table(COMPARED, comparison_rows(steps)))
    if report.crowd:
        parts.append(f"<h2>{report.crowd.users} users in closed loop</h2>")
        parts.append(_table(CROWD, crowd_rows(report.crowd)))
    head = f"<meta charset=utf-8><title>{escape(title)}</title><style>{STYLE}</style>"
    return f"<!doctype html><html lang=en><head>{head}</head><body>{''.join(parts)}</body></html>"


def _circumstances(report: Report) -> str:
    machine = "; ".join(f"{name}: {value}" for name, value in report.machine.items())
    sent = ", ".join(f"{weight} {name}" for name, weight in report.kinds.items())
    return f"The client's machine: {machine}. Sent in open loop, by weight: {sent}."


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
