"""A report as text, for a terminal of 100 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from tests.bench.report import RATIOS, Report

WIDTH = 100


def render(report: Report) -> str:
    """Lay out what was found: the machine, the rows, the ratios, and what to know of them."""
    sections = (
        _machine(report),
        _rows(report),
        _start_ups(report),
        _parts(report),
        _ratios(report),
        _agreement(report),
        _remarks(report),
    )
    return "\n\n".join(section for section in sections if section)


def table(lines: Sequence[Sequence[str]]) -> str:
    """Align cells in columns; a column whose cells are all numbers or blank stands right.

    Args:
        lines: the head first.
    """
    columns = list(zip(*lines, strict=True))
    widths = [max(map(len, column)) for column in columns]
    is_right = [all(_is_number(cell) for cell in column[1:]) for column in columns]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, is_right, strict=True)
        ).rstrip()
        for line in lines
    )


def _is_number(cell: str) -> bool:
    return not cell.strip("-+.0123456789%")


def _machine(report: Report) -> str:
    machine = report.machine
    cores = f"{machine.cores} cores, {machine.threads} threads, {machine.memory_gb} GB"
    peak = ", ".join(f"{name} {rate:.3g} GFLOP/s" for name, rate in machine.peak_gflops.items())
    lines = [
        f"{machine.cpu}, {cores}, {machine.gpu or 'no GPU'}; {machine.system}",
        f"instruction sets: {' '.join(machine.isa)}",
        f"peak, matrix product: {peak}{'' if machine.native_bf16 else ' (bf16 is emulated)'}",
        f"versions: {_listed(machine.versions)}",
    ]
    if machine.network:
        lines.append(f"network: {_listed(machine.network)}")
    return "\n".join(_wrapped(line) for line in lines)


def _listed(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _rows(report: Report) -> str:
    head = ("engine", "model", "precision", "batch", "images/s", "ms (median)")
    cells = [
        (
            row.label.engine,
            row.label.model,
            row.label.precision,
            str(row.label.batch),
            f"{row.images_per_s:.1f}",
            f"{row.ms_p50:.2f}",
        )
        for row in report.rows
    ]
    return table([head, *cells]) if cells else ""


def _start_ups(report: Report) -> str:
    head = ("start-up", "cache", "ready, s", "first answer, s", "memory peak, MB")
    cells = [
        (
            start.engine,
            start.cache,
            f"{start.ready_s:.1f}",
            f"{start.answered_s:.1f}",
            "" if start.memory_peak_mb is None else f"{start.memory_peak_mb:.0f}",
        )
        for start in report.start_ups
    ]
    return table([head, *cells]) if cells else ""


def _parts(report: Report) -> str:
    head = ("model", "part of a pass", "ms", "share", "GFLOP/s")
    cells = [
        (
            part.model,
            part.name,
            f"{part.ms:.1f}",
            f"{part.share:.1%}",
            "" if part.gflops is None else f"{part.gflops:.0f}",
        )
        for part in report.parts
    ]
    return table([head, *cells]) if cells else ""


def _ratios(report: Report) -> str:
    found = {name: value for name, value in report.ratios.items() if value is not None}
    missing = [name for name in RATIOS if name not in found]
    lines = [("ratio", "value"), *((name, f"{value:.3f}") for name, value in found.items())]
    text = table(lines) if found else ""
    if missing:
        text += "\n" + _wrapped(f"not measured: {', '.join(missing)}")
    return text.strip()


def _agreement(report: Report) -> str:
    if not report.agreement:
        return ""
    lines = [("agreement", "value")]
    lines += [(name, f"{value:.3f}") for name, value in report.agreement.items()]
    return table(lines)


def _remarks(report: Report) -> str:
    return "\n".join(_wrapped(line, indent="  ") for line in _remark_lines(report))


def _remark_lines(report: Report) -> Iterator[str]:
    for absent in report.absent:
        yield f"absent: {absent.name}: {absent.reason}"
    for note in report.notes:
        yield f"note: {note}"


def _wrapped(line: str, indent: str = "  ") -> str:
    return textwrap.fill(line, WIDTH, subsequent_indent=indent, break_on_hyphens=False)
