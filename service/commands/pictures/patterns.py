"""What a pattern matches, as a shell has it, but that `**` follows no links: they may be loops."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path

_DEEP = "**"


def matches_of(pattern: Path) -> list[Path]:
    """Everything that matches, each once, by name; names that begin with a dot as a shell does."""
    return sorted({Path(match) for match in _matches(pattern)}, key=str)


def _matches(pattern: Path) -> Iterator[str]:
    parts = pattern.parts
    if _DEEP not in parts:
        yield from glob.iglob(str(pattern))  # noqa: PTH207 - of any path
        return
    deep = parts.index(_DEEP)
    rest = parts[deep + 1 :] or ("*",)
    for start in glob.iglob(str(Path(*parts[:deep]))):  # noqa: PTH207 - of any path
        for place in _folders_below(start):
            yield from _matches(Path(glob.escape(place), *rest))


def _folders_below(start: str) -> Iterator[str]:
    """A folder, and those in it at any depth, without hidden ones and links."""
    for place, folders, _ in os.walk(start):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield place
