"""Pictures of masks and attributions that `sge-serve predict --save-masks` writes."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.commands.pictures.files import shown
from service.errors import BadSetting
from service.serving.pipeline import Result

_UP = "_"  # stands for `..` in the name of a folder
_MARK_DIGITS = 16  # of a hash, 64 bits: enough for names of one folder


@dataclass(frozen=True, slots=True)
class OverlayFolder:
    """The folder of overlays.

    Attributes:
        path: of it.
        files: how many files are named one by one, whose pictures lie side by side; None where
            they are those of folders, whose tree is repeated.
    """

    path: Path
    files: int | None

    def prepare(self) -> None:
        """Make the folder, before anything is computed for it.

        Raises:
            BadSetting: it cannot be written.
        """
        with self._telling():
            self.path.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.path).close()

    def save(self, position: int, file: Path, result: Result) -> None:
        """Write every picture of a file; called on any thread.

        Args:
            position: of the file, from 1.
            file: that was looked at.
            result: what it came to.

        Raises:
            BadSetting: one cannot be written.
        """
        beginning = self._beginning(position, file)
        with self._telling():
            beginning.parent.mkdir(parents=True, exist_ok=True)
            for name, picture in pictures_of(result):
                whole = self._short(beginning.name, f"_{name}.png")
                beginning.with_name(whole).write_bytes(picture)

    def _beginning(self, position: int, file: Path) -> Path:
        if self.files is not None:
            return self.path / f"{position:0{len(str(self.files))}}_{file.stem}"
        steps = (_UP if step == ".." else step for step in file.parts if step != file.anchor)
        return self.path.joinpath(*steps)

    def _short(self, beginning: str, end: str) -> str:
        """A name that the folder can hold: a hash takes the place of what is too long."""
        longest_bytes = os.pathconf(self.path, "PC_NAME_MAX")
        beginning_bytes, end_bytes = os.fsencode(beginning), os.fsencode(end)
        if len(beginning_bytes) + len(end_bytes) <= longest_bytes:
            return beginning + end
        mark = "~" + hashlib.sha256(beginning_bytes).hexdigest()[:_MARK_DIGITS]
        kept = beginning_bytes[: longest_bytes - len(mark) - len(end_bytes)]
        return kept.decode(errors="ignore") + mark + end

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """Say of which folder it is that something cannot be written."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or error
            message = f"--save-masks {shown(self.path)} cannot be written: {reason}"
            raise BadSetting(message) from error


def require_apart(folder: Path, looked_at: Sequence[Path]) -> None:
    """Refuse to draw into a folder of pictures: what is drawn would be looked at in turn.

    Args:
        folder: where overlays go.
        looked_at: files, folders and patterns. A file that is named may lie anywhere.

    Raises:
        BadSetting: the folder is or contains one of the folders, or is that of a pattern.
    """
    place = folder.resolve()
    for path in looked_at:
        is_pattern = not path.exists() and glob.has_magic(str(path))
        if (path.is_dir() or is_pattern) and place in _places(path, is_pattern=is_pattern):
            raise BadSetting(
                f"--save-masks {shown(folder)} is or contains {shown(path)}, which is looked at: "
                "name another folder"
            )


def _places(path: Path, *, is_pattern: bool) -> tuple[Path, ...]:
    """The folders in which a folder is, itself too, or those of a pattern, as far as is known."""
    while is_pattern and glob.has_magic(str(path)):
        path = path.parent
    whole = path.resolve()
    return (whole, *whole.parents)


def pictures_of(result: Result) -> Iterator[tuple[str, bytes]]:
    """Each picture, and of which block, kind and group, or of which class it is."""
    for mask in result.masks:
        is_mean = mask.groups == "mean"
        names = ["mean"] if is_mean else [f"group{group}" for group in mask.groups]
        for name, picture in zip(names, mask.pictures, strict=True):
            yield f"{mask.block}_{mask.kind}_{name}", picture
    if result.attribution is not None:
        evidence = result.attribution
        for of, picture in zip(evidence.classes, evidence.pictures, strict=True):
            yield f"attribution_class{of.index}", picture
    if result.input is not None:
        yield "input", result.input
