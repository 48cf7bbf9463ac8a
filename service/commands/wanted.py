"""Models that settings name and the store does not have: told before torch is imported."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from itertools import groupby

from service.config import Settings
from service.errors import ServiceError, no_such_default
from service.store.files import no_such_version, nothing_to_serve
from service.store.layout import VersionFolder, name_folders, possible_names
from service.store.policy import VersionPolicy
from service.store.survey import Settled, survey_store

Say = Callable[[str], None]


def check_models(settings: Settings, say: Say) -> None:
    """Look for what a service is to serve, and read no more of it than its name.

    What is broken is found when it is loaded. A store of one model whose manifests name it
    differently is taken for any of these.

    Raises:
        BadSetting: the default model is none of those to be served.
        StoreError: there is nothing to serve, in words that loading would have for it.
    """
    policy, store = VersionPolicy.of(settings), settings.model_store
    survey = survey_store(store, Settled())
    named = [
        name_folders(survey, name, is_renamed=settings.model_name is not None)
        for name in possible_names(store, survey, settings.model_name)
    ]
    names = list(dict.fromkeys(name for found in named for name in _names(found, policy)))
    if not names:
        report_passed_over(survey.passed_over, say)
        for key in policy.absent(named[0]):
            report_version(key, no_such_version(store), say)
        raise nothing_to_serve(store)
    default = settings.default_model
    if default is not None and default not in names:
        raise no_such_default(default, sorted(names))


def _names(found: Iterable[VersionFolder], policy: VersionPolicy) -> Iterable[str]:
    """The names of the models of which versions are to be served."""
    for name, versions in groupby(found, key=lambda folder: folder.name):
        if not policy.choose(list(versions)).is_empty:
            yield name


def report_passed_over(names: Collection[str], say: Say) -> None:
    """Name each folder that holds versions and is no model's."""
    for name in sorted(names):
        say(f"passed over: {name!a}: no model can be called so")


def report_version(key: str, error: ServiceError, say: Say) -> None:
    """Name a version that is not served, and why."""
    say(f"not served: {key}: {error.message}")
