"""Kinds of values that several settings have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator
from pydantic_settings import NoDecode

LONGEST_TIMEOUT_S = 86_400  # a day; event loops cannot set an alarm at infinity
LONGEST_TIMEOUT_MS = LONGEST_TIMEOUT_S * 1000


def _split_commas(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


CommaList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_commas)]
"""Texts with commas between them."""

UserPath = Annotated[Path, AfterValidator(Path.expanduser)]
"""A path, which may begin with ~."""
