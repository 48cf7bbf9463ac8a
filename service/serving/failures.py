"""Versions that failed to come up: what is kept of it, and whether it may pass."""

from __future__ import annotations

from collections.abc import Iterable

from service.errors import EngineFailed, MissingFile, ServiceError, StoreError
from service.store.layout import VersionFolder
from service.store.load import BrokenVersion


class NoMemory(EngineFailed):
    """A version does not fit beside what is served."""


PASSING = (NoMemory, MissingFile)


def broken_by(error: ServiceError, folder: VersionFolder) -> BrokenVersion:
    """What is kept of a failure.

    That is an error anew: the one that was raised holds on to the frames, and so to the weights.
    """
    kinds = (*PASSING, StoreError)
    kind = next((kind for kind in kinds if isinstance(error, kind)), EngineFailed)
    return BrokenVersion(folder.key, kind(error.message), folder.seen)


def may_pass(broken: BrokenVersion) -> bool:
    """Whether a version that is there may come up later, with the same files."""
    return broken.seen is not None and isinstance(broken.error, PASSING)


def known_failure(broken: Iterable[BrokenVersion], folder: VersionFolder) -> BrokenVersion | None:
    """The failure of a version that would fail again, as its files are what they were then."""
    for one in broken:
        is_same = one.key == folder.key and one.seen is not None and one.seen == folder.seen
        if is_same and not may_pass(one):
            return one
    return None
