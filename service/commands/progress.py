"""A bar on a terminal that says how far a command is; elsewhere nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

from tqdm import tqdm


def progress_bar(count: Callable[[], Iterable[Any]] | None) -> tqdm[Any]:
    """Make a bar on standard error, which its owner moves and closes.

    Args:
        count: gives everything that is to be done; it is called, and counted, only on a terminal.
            None: no bar.
    """
    if count is None or not sys.stderr.isatty():
        return tqdm(disable=True)
    total = sum(1 for _ in count())
    return tqdm(total=total, unit=" files", dynamic_ncols=True, leave=False)
