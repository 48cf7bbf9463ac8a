"""Which model is meant, by the name and the version that are given or not."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence

from service.errors import UnknownModel, no_such_default
from service.serving.served_model import ServedModel
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


class Shares:
    """Draws who answers requests that name no version.

    Attributes:
        by_key: of the requests, by `name/version`; they need not add up to anything.
        random: where chance comes from.
    """

    def __init__(self, by_key: Mapping[str, float]) -> None:
        self.by_key = by_key
        self.random = random.Random()  # noqa: S311 - it shares requests out, and guards nothing

    def draw(self, versions: Sequence[ServedModel]) -> ServedModel | None:
        """Draw one of a model's versions that can answer; None where none of all has a share.

        While none that has one can answer, it is the newest of those: no other does in their place.

        Args:
            versions: oldest first.
        """
        sharing = [model for model in versions if self.by_key.get(model.loaded.key)]
        drawn = [model for model in sharing if model.is_ready] or sharing[-1:]
        weights = [self.by_key[model.loaded.key] for model in drawn]
        return self.random.choices(drawn, weights)[0] if drawn else None


def choose_default(models: Iterable[LoadedModel], name: str | None) -> str | None:
    """The name of the model that is meant where none is named: the only one, unless it is said.

    Raises:
        BadSetting: there is none of the name that the setting says.
    """
    names = names_of(models)
    if name is not None and name not in names:
        raise no_such_default(name, names)
    return names[0] if name is None and len(names) == 1 else name
