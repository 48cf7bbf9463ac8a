"""A report -> one HTML file that needs nothing else: no script, no other host."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jinja2 import Environment, StrictUndefined
from numpy.typing import NDArray
from PIL import Image

from service.evaluation.report import Confused, Report
from service.results.heat_map import draw_grey

MOST_NUMBERS = 60  # classes of a confusion that is shown in numbers; a larger one is a picture
MATRIX_PX = 500  # that picture's largest side: a browser that had to shrink it would drop cells
THUMBNAIL_PX = 96
_FOLLOWING = 20  # rows of lists that are cut
_TEMPLATE = Path(__file__).with_name("page.html")


def render(report: Report, wrong_pixels: Sequence[NDArray[np.uint8]]) -> str:
    """Write the page.

    Args:
        report: what was found.
        wrong_pixels: (3, S, S) uint8 for each of its wrong pictures.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["percent"] = _percent
    environment.filters["below"] = lambda file: file.removeprefix(f"{report.folder}/")
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    shares = _shares(report)
    in_numbers = len(report.classes) <= MOST_NUMBERS
    a_pixel = math.ceil(len(report.classes) / MATRIX_PX)
    return template.render(
        report=report,
        first=report.engines[0],
        shares=shares if in_numbers else None,
        counts=_counts(report) if in_numbers else None,
        confusion_png=None if in_numbers else _picture(_largest_of(shares, a_pixel)),
        a_pixel=a_pixel,
        confused=[cell for cell in report.confusion if _is_wrong(cell)][:_FOLLOWING],
        unreadable=report.unreadable[: 5 * _FOLLOWING],
        thumbnails=[_base64(_thumbnail(pixels)) for pixels in wrong_pixels],
    )


def _is_wrong(cell: Confused) -> bool:
    return cell.truth != cell.predicted


def _counts(report: Report) -> NDArray[np.int64]:
    """Pictures by true class and predicted class: (K, K)."""
    table = np.zeros((len(report.classes), len(report.classes)), np.int64)
    for cell in report.confusion:
        table[cell.truth, cell.predicted] = cell.count
    return table


def _shares(report: Report) -> NDArray[np.float32]:
    """The same as shares of the true class's pictures: (K, K), 0 where there are none."""
    counts = _counts(report)
    shares: NDArray[np.float32] = (counts / counts.sum(axis=1, keepdims=True).clip(1)).astype("f4")
    return shares


def _largest_of(shares: NDArray[np.float32], cells: int) -> NDArray[np.float32]:
    """The largest of each square of so many cells a side: (ceil(K / cells), ceil(K / cells))."""
    classes = len(shares)
    side = math.ceil(classes / cells)
    padded = np.zeros((side * cells, side * cells), np.float32)
    padded[:classes, :classes] = shares
    largest: NDArray[np.float32] = padded.reshape(side, cells, side, cells).max(axis=(1, 3))
    return largest


def _picture(shares: NDArray[np.float32]) -> str:
    return _base64(next(draw_grey(1 - shares[None])))


def _thumbnail(pixels: NDArray[np.uint8]) -> bytes:
    picture = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=85)
    return file.getvalue()


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _percent(share: float | None, digits: int = 1) -> str:
    return "–" if share is None else f"{100 * share:.{digits}f} %"  # noqa: RUF001 - a dash for none
