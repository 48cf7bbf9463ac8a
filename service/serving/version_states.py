"""Where every version stands, served or not, and why it does not answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from service.config import is_version
from service.serving.served_model import ServedModel
from service.serving.served_models import ServedModels
from service.store.layout import VersionFolder
from service.store.load import BrokenVersion

NOT_WANTED = "it is in the store, and not among what the settings want served"

State = Literal["READY", "LOADING", "UNLOADING", "UNAVAILABLE"]


@dataclass(frozen=True, slots=True)
class VersionState:
    """Where a version stands, and why it does not answer."""

    name: str
    version: str
    state: State
    reason: str = ""


def list_states(
    models: ServedModels,
    loading: VersionFolder | None,
    unloaded: Mapping[str, tuple[str, ...]],
    found: Iterable[VersionFolder],
) -> list[VersionState]:
    """Where every version stands, by name and number.

    Args:
        models: that are served, leave, or cannot be served.
        loading: what comes up now.
        unloaded: the versions that were told to go, by name.
        found: what the store had when it was last looked at.
    """
    first_counts = [
        *([VersionState(loading.name, loading.version, "LOADING")] if loading else ()),
        *_of_models(models),
        *_of_unloaded(unloaded),
        *(VersionState(one.name, one.version, "UNAVAILABLE", NOT_WANTED) for one in found),
    ]
    unique = {(one.name, one.version): one for one in reversed(first_counts)}
    return sorted(unique.values(), key=lambda one: (one.name, _number_of(one.version)))


def _number_of(version: str) -> int:
    """For sorting; 0 where no version is known."""
    return int(version) if is_version(version) else 0


def _of_models(models: ServedModels) -> Iterator[VersionState]:
    yield from (_of_served(model) for model in models)
    for model in models.leaving:
        reason = "answers what began on it"
        yield VersionState(model.name, model.version, "UNLOADING", reason)
    yield from (_of_broken(broken) for broken in models.broken)


def _of_unloaded(unloaded: Mapping[str, tuple[str, ...]]) -> Iterator[VersionState]:
    for name, versions in unloaded.items():
        for version in versions:
            yield VersionState(name, version, "UNAVAILABLE", "unloaded")


def _of_served(model: ServedModel) -> VersionState:
    if model.is_ready:
        return VersionState(model.name, model.version, "READY")
    state: State = "LOADING" if model.tier == "loading" else "UNAVAILABLE"
    return VersionState(model.name, model.version, state, model.tier)


def _of_broken(broken: BrokenVersion) -> VersionState:
    name, _, version = broken.key.partition("/")
    return VersionState(name, version, "UNAVAILABLE", broken.error.message)
