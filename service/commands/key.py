"""`sge-serve key new`: make an API key, and add it to the file of keys."""

from __future__ import annotations

from pathlib import Path

from service.api.key_file import add_key
from service.config import Settings, variable_of
from service.errors import BadSetting


def new(name: str, file: Path | None) -> tuple[str, Path]:
    """Make a key and add its digest to a file.

    Args:
        name: of the key.
        file: of the keys; None takes the service's.

    Returns:
        The key, which is kept nowhere, and the file.

    Raises:
        BadSetting: no file is named, the name cannot be one or is taken, or the file is none or
            cannot be written.
    """
    path = file or Settings().api_keys_file
    if path is None:
        raise BadSetting(f"name the file of keys: --file FILE, or {variable_of('api_keys_file')}")
    return add_key(path, name), path
