"""The model store, `<store>/<name>/<version>/`: find, verify, load; it is never written here."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from service.errors import BadManifest, EngineFailed, HashMismatch, MissingFile, StoreError
from service.model.checkpoint import build_network
from service.model.resnet import SgeResNet
from service.model.weights_file import decode_weights
from service.store.files import (
    check_labels,
    decode_labels,
    describe_invalid_manifest,
    describe_os_error,
    read_file,
    sha256_of,
)
from service.store.manifest import LABELS_FILE, MANIFEST_FILE, WEIGHTS_FILE, Manifest
from service.store.reference import ReferenceNetwork

_VERSION = re.compile(r"[1-9][0-9]*")


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
    """A version that cannot be served, or an asked-for one that is not there, and why."""

    key: str
    error: StoreError | EngineFailed


@dataclass(frozen=True, slots=True)
class StoreContents:
    """What a store holds, by name and then by version as a number."""

    models: tuple[LoadedModel, ...]
    broken: tuple[BrokenVersion, ...]


def load_store(store: Path, names: tuple[str, ...] = ()) -> StoreContents:
    """Load every version that is asked for; a broken one does not stop the others.

    Files, dot folders and folders that hold no version are passed over.

    Args:
        store: the folder of the models.
        names: `name` for all its versions, or `name/version`; empty means everything.

    Raises:
        MissingFile: the store itself is not there or cannot be listed.
    """
    models: list[LoadedModel] = []
    broken: list[BrokenVersion] = []
    found: set[str] = set()
    for directory in _all_versions(store):
        name, key = directory.parent.name, f"{directory.parent.name}/{directory.name}"
        found |= {name, key}
        if names and name not in names and key not in names:
            continue
        try:
            models.append(load_version(directory))
        except StoreError as error:
            broken.append(BrokenVersion(key, error))
    absent = [name for name in dict.fromkeys(names) if name not in found]
    broken += [BrokenVersion(name, MissingFile(f"no such version in {store}")) for name in absent]
    return StoreContents(tuple(models), tuple(broken))


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
    manifest = _read_manifest(directory.absolute())
    labels = decode_labels(_read_verified(directory / LABELS_FILE, manifest.sha256.labels))
    check_labels(labels, manifest.classes)
    read = partial(_read_network, directory.absolute(), manifest)
    return LoadedModel(manifest, labels, ReferenceNetwork(read(), read))


def list_versions(model: Path) -> list[Path]:
    """The version folders of a model, oldest first.

    Empty where there is no such model, or one that may not be read, as a volume's `lost+found`.
    """
    folders = _folders_in(model) if os.access(model, os.R_OK | os.X_OK) else []
    versions = [folder for folder in folders if _VERSION.fullmatch(folder.name)]
    return sorted(versions, key=lambda folder: int(folder.name))


def _all_versions(store: Path) -> list[Path]:
    return [directory for model in _folders_in(store) for directory in list_versions(model)]


def _folders_in(folder: Path) -> list[Path]:
    """The visible folders in a folder, by name."""
    try:
        folders = sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError as error:
        raise MissingFile(f"{folder} cannot be listed: {describe_os_error(error)}") from error
    return [path for path in folders if not path.name.startswith(".")]


def _read_manifest(directory: Path) -> Manifest:
    try:
        manifest = Manifest.model_validate_json(read_file(directory / MANIFEST_FILE))
    except ValidationError as error:
        raise BadManifest(describe_invalid_manifest(error)) from error
    key, folder = f"{manifest.name}/{manifest.version}", "/".join(directory.parts[-2:])
    if key != folder:
        raise BadManifest(f"the manifest is that of {key}, the folder is {folder}")
    return manifest


def _read_network(directory: Path, manifest: Manifest) -> SgeResNet:
    content = _read_verified(directory / WEIGHTS_FILE, manifest.sha256.weights)
    return build_network(manifest.spec, decode_weights(content, WEIGHTS_FILE))


def _read_verified(path: Path, expected: str) -> bytes:
    content = read_file(path)
    seen = sha256_of(content)
    if seen != expected:
        raise HashMismatch(f"{path.name} has the sha256 {seen}, the manifest says {expected}")
    return content
