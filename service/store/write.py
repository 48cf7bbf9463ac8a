"""A model version before it is in the store, and how it gets there whole or not at all."""

from __future__ import annotations

import secrets
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pydantic import ValidationError
from pydantic_core import PydanticSerializationError
from torch import Tensor, nn

from service.errors import BadManifest, StoreError
from service.images.contract import InputContract
from service.model.checkpoint import refuse_non_finite
from service.model.resnet import SgeResNet
from service.store.files import (
    LABELS_FILE,
    MANIFEST_FILE,
    WEIGHTS_FILE,
    check_labels,
    describe_invalid_manifest,
    describe_os_error,
    encode_labels,
    sha256_of,
)
from service.store.manifest import Hashes, Manifest

CARD_FILE = "README.md"


@dataclass(frozen=True, slots=True)
class NewVersion:
    """Everything that a model version is made of.

    Attributes:
        network: its spec and weights are stored; the input's size comes from `input`.
        labels: one a class, in the order of the logits, each a line of its own.
        card: the text of the model card.
        half_weights: store the weights of convolutions and of `fc` as float16; everything else
            stays float32, and loading makes all of it float32 again.
    """

    name: str
    version: str
    network: SgeResNet
    labels: tuple[str, ...]
    input: InputContract
    licence: str
    source: str
    card: str
    sge_inserted: bool = False
    metrics: dict[str, Any] = field(default_factory=dict)
    half_weights: bool = False


@dataclass(frozen=True, slots=True)
class EncodedVersion:
    """A version that only has to be written.

    Attributes:
        directory: where it will be.
        files: their contents by their names.
    """

    directory: Path
    manifest: Manifest
    files: dict[str, bytes]

    def write(self) -> Path:
        """Write it whole or not at all, and return its folder.

        Raises:
            StoreError: the store cannot be written.
        """
        _write_folder(self.directory, self.files)
        return self.directory


def write_version(store: Path, new: NewVersion) -> Path:
    """Write a new version and return its folder.

    Raises:
        BadManifest: it makes no valid manifest, the labels do not match the classes, or
            the version exists.
        BadCheckpoint: weights are NaN or infinite, or become so as float16.
        StoreError: the store cannot be written.
    """
    return encode_version(store, new).write()


def encode_version(store: Path, new: NewVersion) -> EncodedVersion:
    """Make the files of a new version, and write nothing.

    Raises:
        BadManifest: it makes no valid manifest, the labels do not match the classes, or
            the version exists.
        BadCheckpoint: weights are NaN or infinite, or become so as float16.
    """
    check_labels(new.labels, new.network.spec.classes)
    weights = _encode_weights(new.network, half=new.half_weights)
    labels = encode_labels(new.labels)
    manifest = _manifest_of(new, Hashes(weights=sha256_of(weights), labels=sha256_of(labels)))
    directory = store / manifest.name / manifest.version
    if directory.exists():
        raise BadManifest(f"{directory} exists, a version is never overwritten")
    files = {
        WEIGHTS_FILE: weights,
        LABELS_FILE: labels,
        MANIFEST_FILE: _encode_manifest(manifest),
        CARD_FILE: new.card.encode(errors="replace"),  # file names may hold what is not text
    }
    return EncodedVersion(directory, manifest, files)


def _write_folder(directory: Path, files: dict[str, bytes]) -> None:
    """Fill a dot folder beside `directory` and rename it, so that no reader sees half of it."""
    model = directory.parent
    partial = model / f".{directory.name}-{secrets.token_hex(4)}"
    try:
        model.mkdir(parents=True, exist_ok=True)
        partial.mkdir()
        for name, content in files.items():
            (partial / name).write_bytes(content)
        partial.rename(directory)
    except OSError as error:
        raise StoreError(f"{directory} cannot be written: {describe_os_error(error)}") from error
    finally:  # after the rename `partial` is gone and the model's folder is not empty
        shutil.rmtree(partial, ignore_errors=True)
        with suppress(OSError):
            model.rmdir()


def _manifest_of(new: NewVersion, hashes: Hashes) -> Manifest:
    spec = new.network.spec
    try:
        return Manifest(
            name=new.name,
            version=new.version,
            architecture=spec.architecture,
            stem=spec.stem,
            groups=spec.groups,
            classes=spec.classes,
            initial_bias=spec.initial_bias,
            input=new.input,
            sha256=hashes,
            sge_inserted=new.sge_inserted,
            licence=new.licence,
            source=new.source,
            metrics=new.metrics,
        )
    except ValidationError as error:
        raise BadManifest(describe_invalid_manifest(error)) from error


def _encode_manifest(manifest: Manifest) -> bytes:
    try:
        return f"{manifest.model_dump_json(indent=2)}\n".encode()
    except PydanticSerializationError as error:
        raise BadManifest(
            "invalid manifest: licence, source or metrics cannot be written as json"
        ) from error


def _encode_weights(network: SgeResNet, *, half: bool) -> bytes:
    halved = {
        f"{name}.weight"
        for name, module in network.named_modules()
        if half and isinstance(module, nn.Conv2d | nn.Linear)
    }
    weights = {
        name: _stored(tensor, torch.float16 if name in halved else torch.float32)
        for name, tensor in network.state_dict().items()
    }
    refuse_non_finite(weights)
    return safetensors.torch.save(weights)


def _stored(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    tensor = tensor.detach().cpu().contiguous()
    return tensor.to(dtype) if tensor.is_floating_point() else tensor
