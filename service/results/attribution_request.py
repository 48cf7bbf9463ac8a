"""For which classes a client may ask where their evidence lies."""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.errors import BadRequest
from service.results.map_cost import MapCost

RECORD_BYTES = 128  # of a class in an answer beside its label: names of fields, and three numbers


@dataclass(frozen=True, slots=True)
class BestClasses:
    """The `count` classes with the largest logits, best first."""

    count: int

    def indices(self, logits: NDArray[np.float32]) -> list[int]:
        """Their positions in logits (K,); of equal ones the lower first."""
        return [int(index) for index in np.argsort(-logits, kind="stable")[: self.count]]


@dataclass(frozen=True, slots=True)
class ListedClasses:
    """These classes, in this order."""

    ids: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many they are."""
        return len(self.ids)

    def indices(self, _: NDArray[np.float32]) -> list[int]:
        """Their positions in any logits."""
        return list(self.ids)


ClassChoice = BestClasses | ListedClasses


class ClassNames:
    """The classes of a model by every name that a client may give; made once for a model.

    Args:
        labels: of the model, in the order of its logits.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self.count = len(labels)
        self._indices: dict[str, list[int]] = {}
        for index, label in enumerate(labels):
            self._indices.setdefault(label, []).append(index)

        self.longest_bytes = max((len(json.dumps(label)) for label in labels), default=0)
        """Of a label as it is written into JSON, at most."""

    def cost_of(self, classes: int) -> MapCost:
        """Tell what so many records with a label and numbers come to in an answer."""
        return MapCost(0, classes * (RECORD_BYTES + self.longest_bytes))

    def knows(self, label: str) -> bool:
        """Whether a class is called so."""
        return label in self._indices

    def index_of(self, name: str) -> int:
        """The class that `index:N`, a label, or a number that is no label, stands for.

        Raises:
            BadRequest: none, or several that share the label.
        """
        stripped = name.strip()
        if match := re.fullmatch(r"index:([0-9]{1,9})", stripped):
            return self._within(int(match[1]), name)
        named = self._indices.get(name) or self._indices.get(stripped, [])
        if len(named) == 1:
            return named[0]
        if named:
            raise BadRequest(
                f"{len(named)} classes are called {reprlib.repr(stripped)}: name one by its index, "
                f"as index:{named[0]}"
            )
        return self._within(int(stripped) if re.fullmatch(r"[0-9]{1,9}", stripped) else -1, name)

    def _within(self, index: int, name: str) -> int:
        if 0 <= index < self.count:
            return index
        raise BadRequest(
            f"no class {reprlib.repr(name.strip())}: attribution is top, top:N, or a comma list of "
            f"labels and of index:N, from 0 to {self.count - 1}"
        )


def parse_classes(text: str, names: ClassNames) -> ClassChoice | None:
    """Read `top`, `top:N`, or a comma list of labels, `index:N` and numbers.

    A label that holds a comma is found where it is all of the text. A number is a label where
    there is one, else an index.

    Args:
        text: the client's; empty for no attribution.
        names: the model's; `top:N` with an N above all classes gives all.

    Returns:
        None where nothing is asked for.

    Raises:
        BadRequest: none of these, a class that the model does not have, two that share the label,
            or a class twice.
    """
    if not text.strip():
        return None
    if text.strip() == "top":
        return BestClasses(1)
    if match := re.fullmatch(r"top:([1-9][0-9]{0,8})", text.strip()):
        return BestClasses(min(int(match[1]), names.count))
    parts = [text] if names.knows(text) or names.knows(text.strip()) else text.split(",")
    ids: dict[int, None] = {}  # in order
    for part in parts:
        index = names.index_of(part)
        if index in ids:
            raise BadRequest(
                f"attribution is {reprlib.repr(text.strip())}, a class may be there once"
            )
        ids[index] = None
    return ListedClasses(tuple(ids))
