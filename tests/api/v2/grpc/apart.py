"""Functions of `triton_calls` in a process that has nothing of the service."""

from __future__ import annotations

import importlib
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

Ask = Callable[..., Any]

CALLS = "tests.api.v2.grpc.triton_calls"


@contextmanager
def apart() -> Iterator[Ask]:
    """Give what calls a function by its name, in one process until the end of the block."""
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawned) as process:
        yield lambda name, *arguments: process.submit(_call, name, *arguments).result()


def _call(name: str, *arguments: object) -> Any:
    return getattr(importlib.import_module(CALLS), name)(*arguments)
