"""What the environment says of the terminal."""

from __future__ import annotations

import os


def refuses_colours() -> bool:
    """Whether the person at the terminal wants plain text: `NO_COLOR` is set to anything."""
    return bool(os.environ.get("NO_COLOR"))
