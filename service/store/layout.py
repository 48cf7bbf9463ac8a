"""The version folders of a store, and the name by which a model answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic_core import from_json

from service.config import is_name, is_version
from service.errors import MissingFile, StoreError
from service.store.disk import BoundedDisk, Disk
from service.store.files import MANIFEST_BYTES, MANIFEST_FILE, read_bounded
from service.store.survey import Place, Seen, Settled, Survey, survey_store

UNNAMED = "model"  # where neither a manifest nor the store's folder has a name that will do
MOST_TRIED = 16  # names that manifests state, before the store is taken for unusable


@dataclass(frozen=True, slots=True)
class VersionFolder:
    """A folder that is to hold a version.

    Attributes:
        name: by which the model answers.
        version: a number; empty where only an unreadable manifest could tell it.
        directory: the folder.
        expected: what the manifest has to say of itself: its name and version, of which either may
            be None.
        seen: the states of its files, before any of them was read.
    """

    name: str
    version: str
    directory: Path
    expected: tuple[str | None, str | None] = (None, None)
    seen: Seen | None = None

    @property
    def key(self) -> str:
        """The version's name among all models: `name/version`."""
        return f"{self.name}/{self.version}".removesuffix("/")


def find_versions(store: Path, model_name: str | None = None) -> list[VersionFolder]:
    """Find the version folders, by name and then by number.

    Args:
        store: the folder of the models, in any of its layouts.
        model_name: by which the store's model answers, whatever it is called.

    Raises:
        MissingFile: the store is not there or cannot be listed.
        StoreError: as `survey_store` and `name_folders` do.
    """
    survey = survey_store(store, Settled())
    likeliest = possible_names(store, survey, model_name)[0]
    return name_folders(survey, likeliest, is_renamed=model_name is not None)


def possible_names(store: Path, survey: Survey, model_name: str | None) -> list[str | None]:
    """The names by which the store's one model may answer, the likeliest first.

    That is what the newest of its manifests says that can be read, unless a person says otherwise.

    Returns:
        None alone for models that have their names from their folders.
    """
    if model_name is not None or survey.layout in (None, "models"):
        return [model_name]
    stated = [_stated(place.directory)[0] for place in reversed(survey.places)]
    folder = store.absolute().name
    names = dict.fromkeys(filter(None, stated)) or [folder if is_name(folder) else UNNAMED]
    return [*names][:MOST_TRIED]


def name_folders(survey: Survey, name: str | None, *, is_renamed: bool) -> list[VersionFolder]:
    """Say by which name each version answers, and what its manifest has to say.

    Args:
        survey: of the store.
        name: of its one model; None: each folder has one.
        is_renamed: the model answers by that name whatever it is called.

    Raises:
        StoreError: there are several models for the one name.
    """
    if survey.layout in (None, "models"):
        return _name_models(survey.places, name)
    expected = None if is_renamed else name
    folders = []
    for place in survey.places:
        version = place.version or _stated(place.directory)[1]
        folders.append(
            VersionFolder(
                name or UNNAMED, version, place.directory, (expected, version or None), place.seen
            )
        )
    return folders


def _name_models(places: Sequence[Place], name: str | None) -> list[VersionFolder]:
    models = sorted({place.name or "" for place in places})
    if name is not None and len(models) > 1:
        raise StoreError(
            f"SGE_MODEL_NAME={name} names one model, the store has {', '.join(models)}: let "
            "SGE_MODEL_STORE be the folder of one"
        )
    return [
        VersionFolder(
            name or place.name or UNNAMED,
            place.version or "",
            place.directory,
            (place.name, place.version),
            place.seen,
        )
        for place in places
    ]


def list_versions(model: Path) -> list[Path]:
    """The version folders of a model, oldest first; none where it is not there or not readable."""
    try:
        names = BoundedDisk(Disk()).folders_in(model)
    except MissingFile:
        return []
    return [model / name for name in sorted(filter(is_version, names), key=int)]


def _stated(directory: Path) -> tuple[str, str]:
    """What a manifest says that it is, name and version; empty where that cannot be meant."""
    try:
        manifest = from_json(read_bounded(directory / MANIFEST_FILE, MANIFEST_BYTES))
    except (StoreError, ValueError):
        return "", ""
    if not isinstance(manifest, dict):
        return "", ""
    name, version = manifest.get("name"), manifest.get("version")
    return (
        name if isinstance(name, str) and is_name(name) else "",
        version if isinstance(version, str) and is_version(version) else "",
    )
