"""Which model is meant, by the name and the version that are given or not."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping

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
    models: Iterable[LoadedModel],
    name: str | None,
    shares: Mapping[str, float],
    source: random.Random,
) -> LoadedModel | None:
    """Draw a version by its share among those that are there; None where none of them has one.

    Args:
        models: that could answer.
        name: of the model that is meant.
        shares: by `name/version`; they need not add up to anything.
        source: of random numbers.
    """
    drawn = [m for m in models if m.manifest.name == name and shares.get(m.key)]
    weights = [shares[model.key] for model in drawn]
    return source.choices(drawn, weights)[0] if drawn else None


def choose_default(models: Iterable[LoadedModel], name: str | None) -> str | None:
    """The name of the model that is meant where none is named: the only one, unless it is said.

    Raises:
        BadSetting: there is none of the name that the setting says.
    """
    names = names_of(models)
    if name is not None and name not in names:
        raise BadSetting(f"SGE_DEFAULT_MODEL={name} is not served, served are: {', '.join(names)}")
    return names[0] if name is None and len(names) == 1 else name
