"""What settings are called: as variables, as flags, once, and where one is wrong."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import ValidationError

ENV_PREFIX = "SGE_"
RENAMED = {  # what a setting was called, and is
    "queue_limit": "max_in_flight",
    "bodies_limit_mb": "bodies_in_flight_mb",
    "default_deadline_ms": "default_timeout_ms",
    "decode_threads": "decode_workers",
}


def variable_of(name: str) -> str:
    """The variable that sets a setting."""
    return f"{ENV_PREFIX}{name.upper()}"


def flag_of(name: str) -> str:
    """The flag that sets a setting."""
    return f"--{name.replace('_', '-')}"


def describe_invalid(error: ValidationError, name_of: Callable[[str], str] = variable_of) -> str:
    """Say in one line which values are wrong, what they were and what is allowed.

    Args:
        error: of settings or of anything else that a person sets.
        name_of: what that person calls a field.
    """
    parts = []
    for detail in error.errors():
        reason = detail["msg"].removeprefix("Value error, ")
        name = ".".join(str(step) for step in detail["loc"])
        parts.append(f"{name_of(name)}={detail['input']}: {reason}" if name else reason)
    return "; ".join(parts)
