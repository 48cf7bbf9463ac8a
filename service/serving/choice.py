"""Which model is meant, by the name and the version that are given or not."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence

from service.errors import BadSetting, UnknownModel
from service.store.load import LoadedModel


def names_of(models: Iterable[LoadedModel]) -> list[str]:
    """The names of models, sorted."""
    return sorted({model.manifest.name for model in models})


def versions_of(models: Iterable[LoadedModel], name: str) -> list[LoadedModel]:
    """The versions of a model, oldest first.

    Raises:
        UnknownModel: there is none of that name.
    """
    listed = list(models)
    found = [model for model in listed if model.manifest.name == name]
    if not found:
        raise UnknownModel(f"no model {name!r}, served are: {', '.join(names_of(listed))}")
    return sorted(found, key=lambda model: int(model.manifest.version))


def choose_model(
    models: Iterable[LoadedModel], default: str | None, name: str | None, version: str | None
) -> LoadedModel:
    """The model that is meant: the default one, the latest version, unless it is said.

    Raises:
        UnknownModel: no such model or version, or none named and no default.
    """
    listed = list(models)
    if name is None and default is None:
        raise UnknownModel(f"name a model, served are: {', '.join(names_of(listed))}")
    versions = versions_of(listed, name or default or "")
    if version is None:
        return versions[-1]
    for model in versions:
        if model.manifest.version == version:
            return model
    known = ", ".join(model.manifest.version for model in versions)
    of_name = versions[0].manifest.name
    raise UnknownModel(f"no version {version!r} of {of_name}, served are: {known}")


def draw_version(
    versions: Sequence[LoadedModel],
    shares: Mapping[str, float],
    source: random.Random,
    is_ready: Callable[[LoadedModel], bool],
) -> LoadedModel | None:
    """Draw a version by its share among those that can answer; None where none has one.

    Args:
        versions: of the model that is meant, oldest first.
        shares: by `name/version`; they need not add up to anything.
        source: of random numbers.
        is_ready: whether a version can answer. While none that has a share can, it is the newest
            of those: no other answers in their place.
    """
    sharing = [model for model in versions if shares.get(model.key)]
    drawn = [model for model in sharing if is_ready(model)] or sharing[-1:]
    return source.choices(drawn, [shares[model.key] for model in drawn])[0] if drawn else None


def choose_default(models: Iterable[LoadedModel], name: str | None) -> str | None:
    """The name of the model that is meant where none is named: the only one, unless it is said.

    Raises:
        BadSetting: there is none of the name that the setting says.
    """
    names = names_of(models)
    if name is not None and name not in names:
        raise BadSetting(f"SGE_DEFAULT_MODEL={name} is not served, served are: {', '.join(names)}")
    return names[0] if name is None and len(names) == 1 else name
