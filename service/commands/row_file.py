"""Rows that a command adds to a file of CSV or JSON lines, and takes up again where it stopped.

A row is one line, written whole once it is known. What is no whole line at the end of the file was
being written when something stopped it, and is cut off.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol, Self

import orjson

from service.errors import BadSetting, ServiceError
from service.serving.pipeline import Result


@dataclass(frozen=True, slots=True)
class Row:
    """What a row says: the file as it is shown, and its result or its error."""

    file: str
    outcome: Result | ServiceError


@dataclass(frozen=True, slots=True)
class _Known:
    """What a line of a file says of its row."""

    file: str
    model: str


class RowFormat(Protocol):
    """How rows are written, and read again."""

    heading: bytes
    """The first line, with its end; empty for none."""

    def line(self, row: Row) -> bytes:
        """Write a row, with the end of its line."""

    def known(self, line: bytes) -> _Known:
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

    def known(self, line: bytes) -> _Known:
        """Read a line that `line` wrote."""
        (cells,) = csv.reader([line.decode()], strict=True)
        if len(cells) != len(self._columns):
            raise ValueError(f"{len(cells)} columns")
        return _Known(cells[0], cells[1])


class JsonRows:
    """Objects: `file`, `model`, and what `sge-serve predict --json` has of a file.

    Args:
        model: its key.
        document: gives what is beside the file and the model.
    """

    heading = b""

    def __init__(self, model: str, document: Callable[[Result | ServiceError], Any]) -> None:
        self._model = model
        self._document = document

    def line(self, row: Row) -> bytes:
        """Write a row."""
        whole = {"file": row.file, "model": self._model, **self._document(row.outcome)}
        return orjson.dumps(whole, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)

    def known(self, line: bytes) -> _Known:
        """Read a line that `line` wrote."""
        document = orjson.loads(line)
        try:
            return _Known(str(document["file"]), str(document["model"]))
        except (TypeError, KeyError) as error:
            raise ValueError("no file and model") from error


class RowFile:
    """A file to which rows are added, open until it is closed.

    Attributes:
        known: files whose rows were there.
    """

    def __init__(self, flag: str, path: Path, form: RowFormat, file: IO[bytes]) -> None:
        self._flag = flag
        self._path = path
        self._form = form
        self._file = file
        self.known: set[str] = set()

    @classmethod
    def open(cls, flag: str, path: Path, form: RowFormat, model: str) -> Self:
        """Open a file, and read what it holds.

        Args:
            flag: of the command, for messages.
            path: of the file; one that is not there is made. What is no file, as a pipe is not, is
                written to from its beginning.
            form: of the rows.
            model: its key.

        Raises:
            BadSetting: it cannot be opened or read, or it holds other things than rows of this
                form and this model. It stays as it was then.
        """
        with _telling(flag, path):
            status = path.stat() if path.exists() else None
            is_file = status is None or stat.S_ISREG(status.st_mode)
            flags = (os.O_RDWR | os.O_CREAT | os.O_APPEND) if is_file else os.O_WRONLY
            file = os.fdopen(os.open(path, flags, 0o666), "r+b" if is_file else "wb", buffering=0)
        rows = cls(flag, path, form, file)
        try:
            has_heading = is_file and rows._take_up(model)
            if not has_heading:
                rows._append(form.heading)
        except BaseException:
            file.close()
            raise
        return rows

    def add(self, rows: Sequence[Row]) -> None:
        """Write rows.

        Raises:
            BadSetting: they cannot be written.
        """
        self._append(b"".join(self._form.line(row) for row in rows))

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _append(self, lines: bytes) -> None:
        with _telling(self._flag, self._path):
            while lines:
                lines = lines[self._file.write(lines) :]

    def _take_up(self, model: str) -> bool:
        """Read what is there, and say whether it begins as it should."""
        whole_bytes, begins = 0, False
        for line in self._lines():
            if not line.endswith(b"\n") and self._may_be_cut(line, begins=begins):
                break
            if self._form.heading and not begins:
                if line != self._form.heading:
                    raise self._refusal(line)
            else:
                self._take(line, model)
            begins = True
            whole_bytes += len(line)
        with _telling(self._flag, self._path):
            self._file.truncate(whole_bytes)
        return begins

    def _lines(self) -> Iterator[bytes]:
        with _telling(self._flag, self._path), open(self._path, "rb") as file:  # noqa: PTH123
            yield from file

    def _take(self, line: bytes, model: str) -> None:
        try:
            row = self._form.known(line)
        except (ValueError, csv.Error) as error:
            raise self._refusal(line) from error
        if row.model != model:
            raise BadSetting(
                f"{self._flag} {self._path} holds rows of {row.model}, this is {model}: "
                "name another file"
            )
        self.known.add(row.file)

    def _may_be_cut(self, line: bytes, *, begins: bool) -> bool:
        """Whether a last line may be the beginning of one of ours."""
        if begins:
            return True
        first = self._form.heading or b'{"file":"'
        return line[: len(first)] == first[: len(line)]

    def _refusal(self, line: bytes) -> BadSetting:
        seen = line[:60].decode(errors="replace").rstrip()
        return BadSetting(
            f"{self._flag} {self._path} holds other rows than these, such as {seen!r}: "
            "name another file"
        )


@contextlib.contextmanager
def _telling(flag: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BadSetting(f"{flag} {path} cannot be written: {error.strerror or error}") from error


def _csv_line(cells: list[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()
