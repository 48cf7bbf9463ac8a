"""What `sge-serve predict` shows of its files: a table, a JSON document, or rows of a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import orjson

from service.api.map_document import attribution_document, base64_of, mask_document
from service.commands.pictures.files import shown
from service.commands.predicting.row_file import RowFile
from service.commands.predicting.row_format import Row
from service.errors import ServiceError
from service.serving.pipeline import Result

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Classified:
    """A file, and what became of it."""

    file: Path
    outcome: Result | ServiceError


class Output(Protocol):
    """Where outcomes go, in their order."""

    def add(self, classified: Sequence[Classified]) -> None:
        """Show some."""

    def end(self) -> None:
        """Show what is left; nothing is added afterwards."""


class Table:
    """Lines for a person, file by file."""

    def __init__(self, say: Say) -> None:
        self._say = say

    def add(self, classified: Sequence[Classified]) -> None:
        """Print the lines of files."""
        for one in classified:
            self._say(_table(one))

    def end(self) -> None:
        """Nothing is left."""


class Document:
    """One JSON document, written as its results become known."""

    def __init__(self, say: Say, model: str) -> None:
        self._say = say
        self._before = f'{{"model":{_dumps(model)},"results":['

    def add(self, classified: Sequence[Classified]) -> None:
        """Print results."""
        for one in classified:
            result = {"file": shown(one.file), **document_of(one.outcome)}
            self._say(self._before + _dumps(result))
            self._before = ","

    def end(self) -> None:
        """Print what closes it."""
        self._say(f"{'' if self._before == ',' else self._before}]}}")


class Rows:
    """Rows of a file, which somebody else closes."""

    def __init__(self, rows: RowFile) -> None:
        self._rows = rows

    def add(self, classified: Sequence[Classified]) -> None:
        """Write rows."""
        self._rows.add([Row(shown(one.file), one.outcome) for one in classified])

    def end(self) -> None:
        """Nothing is left."""


def document_of(outcome: Result | ServiceError) -> dict[str, Any]:
    """What a JSON document has of a file."""
    if isinstance(outcome, ServiceError):
        return {"error": {"code": outcome.code, "message": outcome.message}}
    masks = [mask_document(mask) for mask in outcome.masks]
    document: dict[str, Any] = {"predictions": outcome.predictions, "masks": masks}
    if outcome.attribution is not None:
        document["attribution"] = attribution_document(outcome.attribution)
    if outcome.input is not None:
        document["input"] = base64_of(outcome.input)
    return document


def classes_of(outcome: Result | ServiceError) -> dict[str, Any]:
    """The same without maps and pictures, where those are written elsewhere."""
    if isinstance(outcome, ServiceError):
        return document_of(outcome)
    return {"predictions": outcome.predictions}


def _dumps(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY).decode()


def _table(classified: Classified) -> str:
    if isinstance(classified.outcome, ServiceError):
        return f"{shown(classified.file)}\n  error: {classified.outcome.message}"
    lines = [shown(classified.file)]
    lines += [f"  {p.score:7.2%}  {p.label}" for p in classified.outcome.predictions]
    for mask in classified.outcome.masks:
        count, height, width = mask.numbers.shape
        lines.append(f"  masks of {mask.block}: {count} of {height} x {width}")
    if classified.outcome.attribution is not None:
        evidence = classified.outcome.attribution
        labels = ", ".join(of.label for of in evidence.classes)
        _, height, width = evidence.numbers.shape
        lines.append(f"  attribution of {labels}: {height} x {width}")
    return "\n".join(lines)
