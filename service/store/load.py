"""The model store: find, verify, load; it is never written here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from pathlib import Path

from pydantic import ValidationError

from service.errors import BadManifest, EngineFailed, HashMismatch, StoreError
from service.model.checkpoint import build_network
from service.model.resnet import SgeResNet
from service.model.shapes import shapes_alone
from service.model.weights_file import decode_weights
from service.store.files import (
    LABELS_BYTES,
    LABELS_FILE,
    MANIFEST_BYTES,
    MANIFEST_FILE,
    WEIGHTS_FILE,
    check_labels,
    decode_labels,
    describe_invalid_manifest,
    no_such_version,
    read_bounded,
    sha256_of,
)
from service.store.layout import VersionFolder, list_versions, name_folders, possible_names
from service.store.manifest import Manifest
from service.store.policy import Chosen, VersionPolicy
from service.store.reference import ReferenceNetwork
from service.store.survey import Seen, Settled, survey_store

__all__ = [
    "BrokenVersion",
    "LoadedModel",
    "StoreContents",
    "list_versions",
    "load_folder",
    "load_store",
    "load_version",
    "read_manifest",
    "try_to_load",
]

LARGEST_NUMBER_BYTES, HEADER_BYTES = 8, 16 << 20  # float64 is read, too; what names the weights


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """One loaded model version.

    Attributes:
        labels: one a class, in the order of the logits.
        reference: holds the network; released once every engine has its own copy.
    """

    manifest: Manifest
    labels: tuple[str, ...]
    reference: ReferenceNetwork

    @property
    def network(self) -> SgeResNet:
        """Float32 on the CPU, in evaluation mode, without gradients.

        Raises:
            StoreError: it was released, and its files have gone or changed since.
        """
        return self.reference.get()

    @property
    def key(self) -> str:
        """The version's name among all models: `name/version`."""
        return f"{self.manifest.name}/{self.manifest.version}"

    @property
    def weight_bytes(self) -> int:
        """The size of the network's weights and statistics."""
        return self.reference.weight_bytes


@dataclass(frozen=True, slots=True)
class BrokenVersion:
    """A version that cannot be served, or an asked-for one that is not there, and why.

    Attributes:
        seen: the states of its files then; None where they do not matter.
    """

    key: str
    error: StoreError | EngineFailed
    seen: Seen | None = None


@dataclass(frozen=True, slots=True)
class StoreContents:
    """What a store holds, by name and then by version as a number.

    Attributes:
        settled: what it was taken for.
    """

    models: tuple[LoadedModel, ...]
    broken: tuple[BrokenVersion, ...]
    settled: Settled = field(default_factory=Settled)


def load_store(
    store: Path,
    names: tuple[str, ...] = (),
    *,
    model_name: str | None = None,
    policy: VersionPolicy | None = None,
) -> StoreContents:
    """Load every version that is asked for; a broken one does not stop the others.

    Args:
        store: the folder of the models, in any of its layouts.
        names: `name` for all its versions, or `name/version`; empty means everything.
        model_name: by which the store's one model answers; without it that is the newest name
            in its manifests by which a version can be loaded.
        policy: chooses in place of the names.

    Raises:
        MissingFile: the store itself is not there or cannot be listed.
        StoreError: it has several models for the one name, several layouts, or too much in it.
    """
    policy = policy or VersionPolicy(names)
    survey = survey_store(store, Settled())
    settled = Settled().after(survey)
    tried: list[StoreContents] = []
    for name in possible_names(store, survey, model_name):
        folders = name_folders(survey, name, is_renamed=model_name is not None)
        loaded, broken = _load_all(folders, policy)
        broken += [BrokenVersion(key, no_such_version(store)) for key in policy.absent(folders)]
        tried.append(StoreContents(tuple(loaded), tuple(broken), replace(settled, name=name)))
        if loaded:
            return tried[-1]
    return tried[0]


def _load_all(
    folders: list[VersionFolder], policy: VersionPolicy
) -> tuple[list[LoadedModel], list[BrokenVersion]]:
    models: list[LoadedModel] = []
    broken: list[BrokenVersion] = []
    for _, found in groupby(folders, key=lambda folder: folder.name):
        loaded, failed = _load_wanted(policy.choose(list(found)))
        models += loaded
        broken += failed
    return models, broken


def _load_wanted(wanted: Chosen) -> tuple[list[LoadedModel], list[BrokenVersion]]:
    """Load what is wanted of one model, by number."""
    results: dict[VersionFolder, LoadedModel | BrokenVersion] = {}
    for folder in wanted.all_of:
        results[folder] = try_to_load(folder)
    for folder in wanted.first_of:
        if folder not in results:
            results[folder] = try_to_load(folder)
        if isinstance(results[folder], LoadedModel):
            break
    by_number = [results[folder] for folder in sorted(results, key=lambda f: int(f.version or 0))]
    return (
        [result for result in by_number if isinstance(result, LoadedModel)],
        [result for result in by_number if isinstance(result, BrokenVersion)],
    )


def try_to_load(folder: VersionFolder) -> LoadedModel | BrokenVersion:
    """Load the version in a folder, or say why it cannot be served."""
    try:
        return load_folder(folder)
    except StoreError as error:
        return BrokenVersion(folder.key, error, folder.seen)


def read_manifest(folder: VersionFolder) -> Manifest:
    """Read what a version says of itself, under the name by which it answers.

    Raises:
        MissingFile: there is none.
        BadManifest: it is not valid, belongs to another folder, or was not before.
    """
    directory = folder.directory.absolute()
    try:
        manifest = Manifest.model_validate_json(
            read_bounded(directory / MANIFEST_FILE, MANIFEST_BYTES)
        )
    except ValidationError as error:
        raise BadManifest(describe_invalid_manifest(error)) from error
    name, version = folder.expected
    expected = name or manifest.name, version or manifest.version
    if expected != (manifest.name, manifest.version):
        key = f"{manifest.name}/{manifest.version}"
        raise BadManifest(f"the manifest is that of {key}, the folder is {'/'.join(expected)}")
    if not folder.version:  # by its number it may be one that is served
        raise BadManifest("the manifest has changed since the store was looked at")
    return manifest.model_copy(update={"name": folder.name or manifest.name})


def load_folder(folder: VersionFolder) -> LoadedModel:
    """Read and verify the version in a folder, under the name by which it answers.

    Raises:
        StoreError: as `load_version` does.
    """
    directory = folder.directory.absolute()
    manifest = read_manifest(folder)
    verified = _read_verified(directory / LABELS_FILE, manifest.sha256.labels, LABELS_BYTES)
    labels = decode_labels(verified)
    check_labels(labels, manifest.classes)
    read = partial(_read_network, directory, manifest)
    return LoadedModel(manifest, labels, ReferenceNetwork(read(), read))


def load_version(directory: Path) -> LoadedModel:
    """Read and verify one version.

    Args:
        directory: `<store>/<name>/<version>`.

    Raises:
        MissingFile: a file is not there or cannot be read.
        BadManifest: the manifest is not valid, belongs to another folder, or the labels do not
            match the classes.
        HashMismatch: weights or labels are not those that the manifest names.
        BadCheckpoint: the weights do not fit the network.
    """
    name, version = directory.absolute().parts[-2:]
    return load_folder(VersionFolder(name, version, directory, (name, version)))


def _read_network(directory: Path, manifest: Manifest) -> SgeResNet:
    numbers = sum(value.numel() for value in shapes_alone(manifest.spec).state_dict().values())
    limit_bytes = LARGEST_NUMBER_BYTES * numbers + HEADER_BYTES
    content = _read_verified(directory / WEIGHTS_FILE, manifest.sha256.weights, limit_bytes)
    return build_network(manifest.spec, decode_weights(content, WEIGHTS_FILE))


def _read_verified(path: Path, expected: str, limit_bytes: int) -> bytes:
    content = read_bounded(path, limit_bytes)
    seen = sha256_of(content)
    if seen != expected:
        raise HashMismatch(f"{path.name} has the sha256 {seen}, the manifest says {expected}")
    return content
