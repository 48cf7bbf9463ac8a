"""What `sge-serve evaluate` prints of its report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from service.evaluation.figures import Share
from service.evaluation.report import EngineFigures, Report

_FIRST = 10  # rows of lists that may be long


def describe(report: Report) -> str:
    """The figures as tables for a terminal."""
    parts = [
        [f"{report.model} on {report.pictures} pictures of {report.folder}"],
        _table(_engines(report)),
        _table(_classes(report)),
        _confused(report),
        _wrong(report),
        _slowest(report),
        _unreadable(report),
    ]
    return "\n\n".join("\n".join(part) for part in parts if part)


def _engines(report: Report) -> Iterator[Sequence[str]]:
    has_five = report.engines[0].top5 is not None
    compared = len(report.engines) > 1
    yield (
        *("engine", "top-1", "95 % interval"),
        *(("top-5", "95 % interval") if has_five else ()),
        "ECE",
        *((f"as {report.reference}", "score differs by") if compared else ()),
        *("images/s", "batch"),
    )
    for engine in report.engines:
        told = engine.speed
        yield (
            f"{told.engine} ({told.precision}, {told.device})",
            *_share(engine.top1),
            *(_share(engine.top5) if engine.top5 else ()),
            f"{engine.calibration_error:.4f}",
            *(_agreement(engine) if compared else ()),
            f"{told.images_per_s:.1f}",
            str(told.batch),
        )


def _share(share: Share) -> tuple[str, str]:
    return f"{share.value:.2%}", f"{share.low:.2%} to {share.high:.2%}"


def _agreement(engine: EngineFigures) -> tuple[str, str]:
    if engine.agreement is None or engine.largest_difference is None:
        return "-", "-"
    return f"{engine.agreement.value:.2%}", f"{engine.largest_difference:.2g}"


def _classes(report: Report) -> Iterator[Sequence[str]]:
    yield "class", "pictures", "recall", "precision"
    for of in report.classes:
        if of.count or of.precision is not None:
            yield of.label, str(of.count), _percent(of.recall), _percent(of.precision)


def _confused(report: Report) -> list[str]:
    labels = [of.label for of in report.classes]
    cells = [cell for cell in report.confusion if cell.truth != cell.predicted][:_FIRST]
    rows = [f"  {c.count:5} {labels[c.truth]} as {labels[c.predicted]}" for c in cells]
    return ["most frequent confusions", *rows] if rows else []


def _wrong(report: Report) -> list[str]:
    labels = [of.label for of in report.classes]
    rows = [
        f"  {w.score:7.2%} {labels[w.predicted]}, is {labels[w.truth]}: {w.file}"
        for w in report.wrong[:_FIRST]
    ]
    return ["most confidently wrong", *rows] if rows else []


def _slowest(report: Report) -> list[str]:
    rows = [f"  {slow.ms:8.1f} ms  {slow.file}" for slow in report.slowest[:3]]
    return ["slowest to read and decode", *rows]


def _unreadable(report: Report) -> list[str]:
    if not report.unreadable:
        return []
    rows = [f"  {one.file}: {one.reason}" for one in report.unreadable[:_FIRST]]
    more = len(report.unreadable) - len(rows)
    rows += [f"  and {more} more"] if more else []
    return [f"{len(report.unreadable)} files could not be evaluated", *rows]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.2%}"


def _table(rows: Iterable[Sequence[str]]) -> list[str]:
    """Rows whose first column is left-aligned and whose others are right-aligned."""
    listed = list(rows)
    widths = [max(len(cell) for cell in column) for column in zip(*listed, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in listed
    ]
