"""The version folders of a store, in each of the three layouts that it may have.

<store>/<name>/<version>/    models with their versions
<store>/<version>/           the versions of one model
<store>/                     one version: its files lie in the store itself
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from service.errors import StoreError
from service.store.files import folders_in
from service.store.manifest import MANIFEST_FILE

_VERSION = re.compile(r"[1-9][0-9]*")


@dataclass(frozen=True, slots=True)
class VersionFolder:
    """A folder that is to hold a version.

    Attributes:
        name: by which the model answers.
        version: a number; empty where only an unreadable manifest could tell it.
        directory: the folder.
        expected: what the manifest has to say of itself, by the folder's place: its name and
            version, of which either may be None.
    """

    name: str
    version: str
    directory: Path
    expected: tuple[str | None, str | None] = (None, None)

    @property
    def key(self) -> str:
        """The version's name among all models: `name/version`."""
        return f"{self.name}/{self.version}".removesuffix("/")


def find_versions(store: Path, model_name: str | None = None) -> list[VersionFolder]:
    """Find the version folders, by name and then by number.

    Files, dot folders and folders that hold no version are passed over.

    Args:
        store: the folder of the models.
        model_name: by which the store's model answers, whatever it is called.

    Raises:
        MissingFile: the store is not there or cannot be listed.
        StoreError: there are several models for the one name.
    """
    if (store / MANIFEST_FILE).is_file():
        name, version = _stated(store)
        return [VersionFolder(model_name or name or store.absolute().name, version, store)]
    if any((folder / MANIFEST_FILE).is_file() for folder in list_versions(store)):
        return list(_versions_of_one(store, model_name))
    found = [
        VersionFolder(model.name, folder.name, folder, (model.name, folder.name))
        for model in folders_in(store)
        for folder in list_versions(model)
    ]
    return _renamed(found, model_name) if model_name else found


def list_versions(model: Path) -> list[Path]:
    """The version folders of a model, oldest first.

    Empty where there is no such model, or one that may not be read, as a volume's `lost+found`.
    """
    folders = folders_in(model) if os.access(model, os.R_OK | os.X_OK) else []
    versions = [folder for folder in folders if _VERSION.fullmatch(folder.name)]
    return sorted(versions, key=lambda folder: int(folder.name))


def _versions_of_one(store: Path, model_name: str | None) -> Iterator[VersionFolder]:
    folders = list_versions(store)
    stated = [name for folder in folders if (name := _stated(folder)[0])]
    name = model_name or (stated[-1] if stated else store.absolute().name)
    for folder in folders:
        yield VersionFolder(name, folder.name, folder, (None, folder.name))


def _renamed(found: list[VersionFolder], model_name: str) -> list[VersionFolder]:
    models = sorted({folder.name for folder in found})
    if len(models) > 1:
        raise StoreError(
            f"SGE_MODEL_NAME={model_name} names one model, the store has {', '.join(models)}: let "
            "SGE_MODEL_STORE be the folder of one"
        )
    return [replace(folder, name=model_name) for folder in found]


def _stated(directory: Path) -> tuple[str, str]:
    """What a manifest says that it is, name and version; empty where it says nothing readable."""
    try:
        manifest = json.loads((directory / MANIFEST_FILE).read_bytes())
        return str(manifest["name"]), str(manifest["version"])
    except (OSError, ValueError, TypeError, KeyError):
        return "", ""
