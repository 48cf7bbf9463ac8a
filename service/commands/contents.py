"""The store's contents, as a command reports them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from service.config import Settings
from service.errors import MissingFile
from service.serving.short_lived_thread import in_short_lived_thread
from service.store.load import BrokenVersion, StoreContents, load_store
from service.store.policy import VersionPolicy

Say = Callable[[str], None]


def load_contents(settings: Settings, say: Say) -> StoreContents:
    """Load every version of what the settings name, and report each that cannot be served.

    Raises:
        StoreError: nothing can be served.
    """
    return _load(settings, VersionPolicy(settings.models), say)


def load_served(settings: Settings, say: Say) -> StoreContents:
    """Load what a service serves: of each model the versions that the settings' policy chooses.

    Raises:
        StoreError: nothing can be served.
    """
    return _load(settings, VersionPolicy.of(settings), say)


def _load(settings: Settings, policy: VersionPolicy, say: Say) -> StoreContents:
    contents = in_short_lived_thread(
        load_store, settings.model_store, model_name=settings.model_name, policy=policy
    )
    report_broken(contents.broken, say)
    if not contents.models:
        raise MissingFile(f"no model in {settings.model_store} can be served")
    return contents


def report_broken(versions: Iterable[BrokenVersion], say: Say) -> None:
    """Name each version that is not served, and why."""
    for version in versions:
        say(f"not served: {version.key}: {version.error.message}")
