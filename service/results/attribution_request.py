"""For which classes a client may ask where their evidence lies."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.errors import BadRequest


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


def parse_classes(text: str, labels: Sequence[str]) -> ClassChoice | None:
    """Read `top`, `top:N`, or a comma list of class indices and labels.

    A number is an index; a label that is a number, or holds a comma, is found where it is all of
    the text or of a part between commas, before numbers are looked for.

    Args:
        text: the client's; empty for no attribution.
        labels: the model's, in the order of its logits; `top:N` with a larger N gives all.

    Returns:
        None where nothing is asked for.

    Raises:
        BadRequest: none of these, a class that the model does not have, two that share the label,
            or a class twice.
    """
    text = text.strip()
    if not text:
        return None
    if text == "top":
        return BestClasses(1)
    if match := re.fullmatch(r"top:([1-9][0-9]{0,5})", text):
        return BestClasses(min(int(match[1]), len(labels)))
    parts = [text] if text in labels else [part.strip() for part in text.split(",")]
    ids = tuple(_class_of(part, labels) for part in parts)
    if len(set(ids)) < len(ids):
        raise BadRequest(f"attribution is {reprlib.repr(text)}, a class may be there once")
    return ListedClasses(ids)


def _class_of(part: str, labels: Sequence[str]) -> int:
    named = [index for index, label in enumerate(labels) if label == part]
    if len(named) == 1:
        return named[0]
    if named:
        indices = ", ".join(map(str, named))
        raise BadRequest(
            f"the classes {indices} are all called {reprlib.repr(part)}: name an index"
        )
    if re.fullmatch(r"[0-9]{1,6}", part) and int(part) < len(labels):
        return int(part)
    raise BadRequest(
        f"no class {reprlib.repr(part)}: attribution is top, top:N, or a comma list of labels and "
        f"of indices from 0 to {len(labels) - 1}"
    )
