"""A target with a fault, by which the fuzzer is tested."""

from __future__ import annotations

LONGEST_BYTES = 64
TOKENS = (b"\xfe",)


def prepare() -> None:
    """Nothing is needed."""


def check(data: bytes) -> None:
    """Fail behind three bytes."""
    is_near = data.startswith(b"\xff") and data.startswith(b"\xd8", 1)
    if is_near and data.startswith(b"\xfe", 2):
        raise ZeroDivisionError


def seeds() -> list[bytes]:
    """Far from what fails."""
    return [b"abc"]
