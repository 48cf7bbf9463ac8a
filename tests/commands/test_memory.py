"""Memory around a start: what collections of garbage pass over."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from service.commands.memory import set_aside_what_stays, tidy_up, without_collections


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """What a test set aside is garbage like any other afterwards."""
    yield
    gc.unfreeze()
    gc.enable()


def test_collections_of_garbage_pass_over_what_stays() -> None:
    """A collection of the modules of torch takes longer than many a batch."""
    before = gc.get_freeze_count()

    set_aside_what_stays()

    assert gc.get_freeze_count() > before + 100_000


def test_nothing_is_collected_while_modules_are_imported() -> None:
    """Afterwards garbage is looked for again, but not among what came."""
    before = gc.get_freeze_count()

    with without_collections():
        is_looked_for = gc.isenabled()

    assert (is_looked_for, gc.isenabled()) == (False, True)
    assert gc.get_freeze_count() > before


def test_collections_that_were_off_stay_off() -> None:
    """Whoever turned them off turns them on again."""
    gc.disable()

    with without_collections():
        pass

    assert not gc.isenabled()


def test_an_import_that_fails_leaves_collections_on() -> None:
    """Nothing is set aside then, as a traceback may hold on to it."""
    before = gc.get_freeze_count()

    with pytest.raises(ImportError), without_collections():
        raise ImportError

    assert gc.isenabled()
    assert gc.get_freeze_count() == before


def test_what_came_since_the_start_may_go() -> None:
    """Garbage of it is found, and nothing further is set aside."""
    gc.freeze()
    before = gc.get_freeze_count()
    garbage = GarbageInCircles()
    gone = weakref.ref(garbage)
    del garbage

    tidy_up()

    assert gone() is None
    assert gc.get_freeze_count() <= before


class GarbageInCircles:
    """An object that holds itself."""

    def __init__(self) -> None:
        self.itself = self
