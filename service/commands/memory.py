"""A process's memory around its start: garbage that is not looked for, memory given back."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def without_collections() -> Iterator[None]:
    """Look for no garbage while modules are imported, nor among them later.

    They are a hundred thousand objects that stay: to look through them as they come, and once more
    when all are there, took a tenth of a start, and their garbage is a megabyte.
    """
    were_on = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if were_on:
            gc.enable()


def settle() -> None:
    """Tidy up once an engine answers: what was loaded stays, and what it was made of goes."""
    set_aside_what_stays()
    give_memory_back()


def tidy_up() -> None:
    """Tidy up after a version has left, beside the requests: what came since the start may go.

    What was set aside is passed over, so that this holds the GIL for moments.
    """
    gc.collect()
    give_memory_back()


def set_aside_what_stays() -> None:
    """Have collections of garbage pass over everything that is here now.

    A whole collection holds the GIL for 0.13 s over the modules of torch, and for twice as
    long once its compiler was imported: every request would wait for it.
    """
    gc.collect()
    gc.freeze()


def give_memory_back() -> None:
    """Have glibc, where it is that one, give the system what was freed: it would keep it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))
