"""The calls of a library that a module of the service makes, read from its syntax tree."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

LIBRARY = "torch_tensorrt"
ENGINE = Path(__file__).parents[3] / "service" / "engines" / "tensorrt" / "engine.py"


@dataclass(frozen=True, slots=True)
class LibraryCall:
    """One call: its dotted public name, how many arguments go by position, which by name."""

    name: str
    positional: int
    keywords: tuple[str, ...]


def calls_of(library: str) -> list[LibraryCall]:
    """What the engine calls on the library, in the order of the file."""
    tree = ast.parse(ENGINE.read_text(encoding="utf-8"))
    return [
        LibraryCall(
            dotted[dotted.index(f"{library}.") :],
            len(node.args),
            tuple(keyword.arg or "**" for keyword in node.keywords),
        )
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and f"{library}." in (dotted := ast.unparse(node.func))
        and "(" not in dotted
    ]
