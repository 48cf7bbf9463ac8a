"""The store's contents, as a command reports them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from service.config import Settings
from service.errors import MissingFile
from service.serving.short_lived_thread import in_short_lived_thread
from service.store.load import BrokenVersion, StoreContents, load_store


def load_contents(settings: Settings, say: Callable[[str], None]) -> StoreContents:
    """Load what the settings name, and report each version that cannot be served.

    Raises:
        StoreError: nothing can be served.
    """
    contents = in_short_lived_thread(load_store, settings.model_store, settings.models)
    report_broken(contents.broken, say)
    if not contents.models:
        raise MissingFile(f"no model in {settings.model_store} can be served")
    return contents


def report_broken(versions: Iterable[BrokenVersion], say: Callable[[str], None]) -> None:
    """Name each version that is not served, and why."""
    for version in versions:
        say(f"not served: {version.key}: {version.error.message}")
