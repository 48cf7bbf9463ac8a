"""Rows of CSV and of JSON lines: one line a picture, written, and read again."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from service.commands.predicting.row_shape import Shape, shape_of
from service.errors import ServiceError
from service.serving.pipeline import Result


@dataclass(frozen=True, slots=True)
class Row:
    """What a row says: the file as it is shown, and its result or its error."""

    file: str
    outcome: Result | ServiceError


@dataclass(frozen=True, slots=True)
class KnownRow:
    """What a line of a file says of its row."""

    file: str
    model: str
    is_error: bool


class RowFormat(Protocol):
    """How rows are written, and read again."""

    heading: bytes
    """The first line, with its end; empty for none."""

    def line(self, row: Row) -> bytes:
        """Write a row, with the end of its line."""

    def known(self, line: bytes) -> KnownRow:
        """Read a line.

        Raises:
            ValueError: it is no row of this form.
        """


class CsvRows:
    """A heading, then `file,model,error` and index, label and score of the best classes.

    Args:
        model: its key.
        classes: so many are given.
    """

    def __init__(self, model: str, classes: int) -> None:
        best = [f"{name}_{n + 1}" for n in range(classes) for name in ("index", "label", "score")]
        self._model = model
        self._columns = ["file", "model", "error", *best]
        self.heading = _csv_line(self._columns)

    def line(self, row: Row) -> bytes:
        """Write a row; where there is an error, what is of classes is empty."""
        if isinstance(row.outcome, ServiceError):
            message = " ".join(row.outcome.message.split())
            empty = len(self._columns) - 3
            return _csv_line([row.file, self._model, message, *[""] * empty])
        best = row.outcome.predictions
        cells = [cell for p in best for cell in (p.index, p.label, f"{p.score:.6g}")]
        return _csv_line([row.file, self._model, "", *cells])

    def known(self, line: bytes) -> KnownRow:
        """Read a line that `line` wrote."""
        (cells,) = csv.reader([line.decode()], strict=True)
        if len(cells) != len(self._columns):
            raise ValueError(f"{len(cells)} columns")
        return KnownRow(cells[0], cells[1], is_error=bool(cells[2]))


class JsonRows:
    """Objects: `file`, `model`, and what `sge-serve predict --json` has of a file.

    Args:
        model: its key.
        document: gives what is beside the file and the model.
        shape: of rows without an error; others are not of this form.
    """

    heading = b""

    def __init__(
        self, model: str, document: Callable[[Result | ServiceError], Any], shape: Shape
    ) -> None:
        self._model = model
        self._shape = shape
        self._document = document

    def line(self, row: Row) -> bytes:
        """Write a row."""
        whole = {"file": row.file, "model": self._model, **self._document(row.outcome)}
        return orjson.dumps(whole, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)

    def known(self, line: bytes) -> KnownRow:
        """Read a line that `line` wrote."""
        document = orjson.loads(line)
        try:
            row = KnownRow(str(document["file"]), str(document["model"]), "error" in document)
            is_ours = row.is_error or shape_of(document) == self._shape
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError("no file, model and predictions") from error
        if not is_ours and row.model == self._model:  # else the model is what differs
            raise ValueError("other classes or maps")
        return row


def _csv_line(cells: list[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()
