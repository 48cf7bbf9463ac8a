"""The store's contents, as a command reports them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from service.commands.wanted import report_passed_over, report_version
from service.config import Settings
from service.errors import MissingFile, UnknownModel
from service.serving.choice import choose_default, choose_model
from service.serving.short_lived_thread import in_short_lived_thread
from service.store.files import nothing_to_serve
from service.store.load import BrokenVersion, LoadedModel, StoreContents, load_store
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
    report_passed_over(contents.settled.passed_over, say)
    report_broken(contents.broken, say)
    if not contents.models:
        raise nothing_to_serve(settings.model_store)
    return contents


def load_chosen(
    settings: Settings, name: str | None, version: str | None, warn: Say
) -> LoadedModel:
    """Load the model that is meant, and tell where the latest one may not be what a person thinks.

    Args:
        settings: name the store.
        name: of the model; None takes the default one.
        version: of it; None takes the latest that is sound. The others are warned of then.
        warn: prints for whoever started the command, apart from what was asked for.

    Raises:
        StoreError: nothing can be served; the reasons are warned of.
        BadSetting: there is no such default model.
        UnknownModel: there is no such model or version; a version that is broken is told with its
            reason.
    """
    held: list[str] = []
    try:
        contents = load_contents(settings, held.append)
    except MissingFile:
        for line in held:
            warn(line)
        raise
    default = choose_default(contents.models, settings.default_model)
    broken = [of for of in contents.broken if of.key.partition("/")[0] == (name or default)]
    try:
        chosen = choose_model(contents.models, default, name, version)
    except UnknownModel as error:
        told = [f"{of.key}: {of.error.message}" for of in broken if _is_of(of, version)]
        raise UnknownModel("; ".join((error.message, *told))) from error
    if version is None:
        report_broken(broken, warn)
    return chosen


def report_broken(versions: Iterable[BrokenVersion], say: Say) -> None:
    """Name each version that is not served, and why."""
    for version in versions:
        report_version(version.key, version.error, say)


def _is_of(broken: BrokenVersion, version: str | None) -> bool:
    return version is None or broken.key.partition("/")[2] == version
