"""Rows that a command adds to a file of CSV or JSON lines, and takes up again where it stopped.

A row is one line, written whole once it is known. What is no whole line at the end of the file was
being written when something stopped it, and is cut off. A row with an error stays until its file
has another one.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Self

from service.commands.pictures.files import shown
from service.commands.predicting.row_format import Row, RowFormat
from service.commands.whole_file import writing_whole
from service.errors import BadSetting

_WITHOUT_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


class RowFile:
    """A file to which rows are added, open until it is closed.

    Attributes:
        known: files whose rows were there, without an error.
    """

    def __init__(self, flag: str, path: Path, form: RowFormat, file: IO[bytes]) -> None:
        self._flag = flag
        self._path = path
        self._form = form
        self._file = file
        self._failed: set[str] = set()  # files of rows with an error
        self._has_replaced = False
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
            BadSetting: it cannot be opened or read, another run writes to it, or it holds other
                things than rows of this form and this model. It stays as it was then.
        """
        with _telling(flag, path):
            status = path.stat() if path.exists() else None
            is_file = status is None or stat.S_ISREG(status.st_mode)
            flags = (os.O_RDWR | os.O_CREAT | os.O_APPEND) if is_file else os.O_WRONLY
            file = os.fdopen(os.open(path, flags, 0o666), "r+b" if is_file else "wb", buffering=0)
        rows = cls(flag, path, form, file)
        try:
            if is_file:
                rows._claim()
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
        self._has_replaced |= any(row.file in self._failed for row in rows)

    def close(self) -> None:
        """Drop errors of files that have a later row, and let go of the file.

        Raises:
            BadSetting: it cannot be written anew; it has both rows then.
        """
        try:
            if self._has_replaced:
                self._drop_replaced()
        finally:
            self._file.close()

    def _drop_replaced(self) -> None:
        last = {file: number for number, file in self._failures()}
        dropped = {number for number, file in self._failures() if number != last[file]}
        with writing_whole(self._flag, self._path.resolve()) as beside, beside.open("wb") as anew:
            anew.writelines(
                line for number, line in enumerate(self._lines()) if number not in dropped
            )
            shutil.copymode(self._path, beside)

    def _failures(self) -> Iterator[tuple[int, str]]:
        """Lines, by number, of the files that had an error."""
        for number, line in enumerate(self._lines()):
            if line != self._form.heading:
                row = self._form.known(line)
                if row.file in self._failed:
                    yield number, row.file

    def _append(self, lines: bytes) -> None:
        with _telling(self._flag, self._path):
            while lines:
                lines = lines[self._file.write(lines) :]

    def _claim(self) -> None:
        """Keep other runs away until the file is closed, where its file system can."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours = os.path.samestat(os.fstat(self._file.fileno()), self._path.stat())
        except OSError as error:
            is_ours = error.errno in _WITHOUT_LOCKS
        if not is_ours:  # or was written anew at that moment
            raise BadSetting(f"{self._flag} {shown(self._path)} is written to by another run")

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
        self._has_replaced |= row.file in self._failed
        (self._failed if row.is_error else self.known).add(row.file)

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
