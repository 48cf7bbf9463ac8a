"""Folders' names -> the model's classes."""

from __future__ import annotations

import csv
import difflib
import io
import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence

from service.errors import BadSetting

Mapped = Mapping[str, str | int]
"""For a folder's name the label or the index of its class."""

_NEAREST = 3
_SHOWN = 20  # folders of which a refusal tells


def match_folders(folders: Sequence[str], labels: Sequence[str], mapped: Mapped) -> dict[str, int]:
    """Find the class of each folder: as the mapping says, else by the label of its name.

    A name is a label's where they are equal or, if only one label is like it, equal but for case,
    spaces, underscores, hyphens and slashes (which no folder's name can hold).

    Args:
        folders: names.
        labels: K of them, in the order of the logits.
        mapped: may hold further folders.

    Raises:
        BadSetting: some folders are no class's; all are named, with the labels nearest to them.
    """
    known = _Labels(labels)
    found: dict[str, int] = {}
    refused: list[str] = []
    for folder in folders:
        try:
            found[folder] = (
                known.by_mapping(mapped[folder]) if folder in mapped else known.by_label(folder)
            )
        except LookupError as error:
            refused.append(f"  {folder}: {error}")
    if refused:
        more = len(refused) - _SHOWN
        lines = [*refused[:_SHOWN], *([f"  and {more} more"] if more > 0 else [])]
        raise BadSetting(
            f"{len(refused)} of {len(folders)} folders are not classes of the model; rename them, "
            "or say by --classes FILE which they are:",
            lines,
        )
    return found


def read_mapping(name: str, content: bytes) -> dict[str, str | int]:
    """Read a JSON object, or lines of CSV with a folder and its label or index.

    Args:
        name: of the file; JSON where it ends in `.json`.
        content: of it. A first line of CSV that begins with `folder` is a heading.

    Raises:
        BadSetting: it is neither, or has a folder twice.
    """
    try:
        text = content.decode("utf-8-sig")
        return _read_json(text) if name.lower().endswith(".json") else _read_csv(text)
    except (ValueError, csv.Error, RecursionError) as error:
        raise BadSetting(f"--classes {name} cannot be used: {error}") from error


def _read_json(text: str) -> dict[str, str | int]:
    document = json.loads(text, object_pairs_hook=_each_once)
    if not isinstance(document, dict):
        raise ValueError("it is no JSON object of folders and their labels")  # noqa: TRY004
    for folder, named in document.items():
        if isinstance(named, bool) or not isinstance(named, str | int):
            raise ValueError(f"{folder!r} has {named!r}, it must be a label or an index")  # noqa: TRY004
    return document


def _each_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object of JSON, whose names may not repeat."""
    document: dict[str, object] = {}
    for name, value in pairs:
        if name in document:
            raise ValueError(f"{name!r} is in it twice")
        document[name] = value
    return document


def _read_csv(text: str) -> dict[str, str | int]:
    mapped: dict[str, str | int] = {}
    for number, row in enumerate(csv.reader(io.StringIO(text), strict=True), 1):
        if not row or (number == 1 and row[0].strip().lower() == "folder"):
            continue
        if len(row) != 2:
            raise ValueError(f"line {number} has {len(row)} columns, not folder and label")
        if row[0] in mapped:
            raise ValueError(f"line {number}: {row[0]!r} is in it twice")
        mapped[row[0]] = row[1].strip()
    return mapped


class _Labels:
    """Finds classes by what people call them."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = labels
        self._exact: defaultdict[str, list[int]] = defaultdict(list)
        self._alike: defaultdict[str, list[int]] = defaultdict(list)
        for index, label in enumerate(labels):
            self._exact[label].append(index)
            self._alike[_plain(label)].append(index)

    def by_mapping(self, named: str | int) -> int:
        """The class of a label or, where it is none, of an index; raises as `by_label`."""
        if isinstance(named, str) and (named in self._exact or not re.fullmatch("[0-9]+", named)):
            return self.by_label(named)
        if len(str(named)) > 6 or not 0 <= int(named) < len(self._labels):
            raise LookupError(f"no class {named}, they are 0 to {len(self._labels) - 1}")
        return int(named)

    def by_label(self, named: str) -> int:
        """The class of a label.

        Raises:
            LookupError: there is none, or more than one.
        """
        found = self._exact.get(named) or self._alike.get(_plain(named), [])
        if len(found) > 1:
            raise LookupError(self._several(named, found))
        if not found:
            raise LookupError(self._none(named))
        return found[0]

    def _several(self, named: str, found: Sequence[int]) -> str:
        listed = ", ".join(f"{self._labels[index]!r} ({index})" for index in found[:5])
        return f"{len(found)} labels are like {named!r}: {listed}"

    def _none(self, named: str) -> str:
        nearest = difflib.get_close_matches(_plain(named), self._alike, _NEAREST, cutoff=0.4)
        labels = [self._labels[self._alike[name][0]] for name in nearest]
        near = f"nearest are {', '.join(map(repr, labels))}" if labels else "none is near"
        return f"no label {named!r}, {near}"


def _plain(name: str) -> str:
    """A name without what people write differently: case, and what stands between words."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return re.sub(r"[\s_/-]+", " ", folded).strip()
