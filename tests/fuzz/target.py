"""What a target of fuzzing is: a module of this folder with these names."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Protocol, cast

TARGETS = ("images", "v2")
BROKEN = "broken"  # a target with a fault, by which the fuzzer is tested


class Target(Protocol):
    """A reader of clients' bytes and what must hold of it."""

    LONGEST_BYTES: int
    TOKENS: Sequence[bytes]

    def prepare(self) -> None:
        """Get the process ready, once."""

    def check(self, data: bytes) -> None:
        """Read bytes; whatever it raises is a finding."""

    def seeds(self) -> list[bytes]:
        """Inputs to begin with."""


def find_target(name: str) -> Target:
    """Import a target."""
    return cast("Target", importlib.import_module(f"tests.fuzz.{name}"))
