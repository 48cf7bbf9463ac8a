"""Libraries of the extra `bench`, which a service does without."""

from __future__ import annotations

import importlib
from typing import Any

from service.errors import BadSetting


def import_extra(name: str) -> Any:
    """Import one of them.

    Raises:
        BadSetting: it, or something that it needs, is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        missing = error.name or name
        raise BadSetting(f"{missing} is not installed: pip install 'sge-serve[bench]'") from error
