"""Kinds of values that several settings have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator
from pydantic_settings import NoDecode

LONGEST_TIMEOUT_S = 86_400  # a day; event loops cannot set an alarm at infinity
LONGEST_TIMEOUT_MS = LONGEST_TIMEOUT_S * 1000

NAME_PATTERN = "^[a-z0-9][a-z0-9._-]*$"
LONGEST_NAME = 64
VERSION_PATTERN = "^[1-9][0-9]*$"
LONGEST_VERSION = 9


def is_name(text: str) -> bool:
    """Whether a model may have this name."""
    return len(text) <= LONGEST_NAME and re.fullmatch(NAME_PATTERN, text) is not None


def is_version(text: str) -> bool:
    """Whether a version of a model may have this number."""
    return len(text) <= LONGEST_VERSION and re.fullmatch(VERSION_PATTERN, text) is not None


def _split_commas(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


CommaList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_commas)]
"""Texts with commas between them."""

UserPath = Annotated[Path, AfterValidator(Path.expanduser)]
"""A path, which may begin with ~."""
