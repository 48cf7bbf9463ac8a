"""`sge-serve import`: a published checkpoint -> a version in the model store."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError
from torchvision.models._meta import _IMAGENET_CATEGORIES

from service.errors import BadManifest
from service.images.contract import InputContract
from service.model.checkpoint import adopt_weights
from service.model.weights_file import decode_weights
from service.store.files import (
    decode_labels,
    describe_invalid_manifest,
    read_file,
    sha256_of,
)
from service.store.load import list_versions
from service.store.write import NewVersion, write_version

IMAGENET = "imagenet1k"

_CARD = """\
# {name}, version {version}

{architecture}: {classes} classes, {groups} channel groups in every block.

- Imported from {origin}.
- Source: {source}.
- Licence: {licence}.
- Input: {size_px} x {size_px} px RGB, the centre of the picture after scaling its shorter side \
to {shorter_side_px} px; ImageNet mean and standard deviation. The checkpoint does not say so: \
this is how published ImageNet weights are evaluated.
- Labels: {labels}.
- SGE: {sge}.

Nothing was measured at import: how accurate the model is, and what it is fit for, is for its \
source to say. Its masks show where each channel group enhances its features; they do not explain \
why a class was chosen.
"""
_TRAINED = "part of the checkpoint"
_INSERTED = (
    "not part of the checkpoint, inserted at import so that the function stays the same. Every "
    "gate is the same number, {gate:.3f}, and shows nothing; the similarity maps do"
)


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What a person asks of an import.

    Attributes:
        version: default 1, or one above the highest there is.
        labels: a file with one label a line, or `imagenet1k`; by default the ImageNet labels
            where there are 1000 classes, else `class 0`, `class 1` and so on.
        groups: of the SGE that a plain ResNet gets, default 64; a checkpoint with SGE must agree.
        size_px: side of the square the model sees.
        source: where the file comes from; default its name.
    """

    file: Path
    name: str
    architecture: str
    version: str | None = None
    labels: str | None = None
    groups: int | None = None
    size_px: int = 224
    licence: str = "not stated"
    source: str | None = None


@dataclass(frozen=True, slots=True)
class _Labels:
    names: tuple[str, ...]
    origin: str  # as the card tells it


def import_model(request: ImportRequest, store: Path) -> Path:
    """Turn a checkpoint into a model version and return its folder.

    Raises:
        MissingFile: the checkpoint or the file of labels cannot be read.
        BadCheckpoint: the weights are not safe, or do not fit the architecture.
        BadManifest: the name, version, size or labels make no sense, or the version exists.
        StoreError: the store cannot be written.
    """
    content = read_file(request.file)
    adopted = adopt_weights(
        decode_weights(content, request.file.name),
        request.architecture,
        groups=request.groups,
        input_px=request.size_px,
    )
    labels = _labels_for(request.labels, adopted.network.spec.classes)
    new = NewVersion(
        name=request.name,
        version=request.version or _next_version(store / request.name),
        network=adopted.network,
        labels=labels.names,
        input=_contract_of(request.size_px),
        licence=request.licence,
        source=request.source or f"the file {request.file.name}",
        sge_inserted=adopted.sge_inserted,
        card="",
    )
    card = _describe(new, labels.origin, f"`{request.file.name}`, sha256 `{sha256_of(content)}`")
    return write_version(store, replace(new, card=card))


def _next_version(model: Path) -> str:
    versions = list_versions(model)
    return str(int(versions[-1].name) + 1 if versions else 1)


def _contract_of(size_px: int) -> InputContract:
    shorter_side_px = size_px * 256 // 224  # the published evaluation, at other sizes in proportion
    try:
        return InputContract(size_px=size_px, fit="crop", shorter_side_px=shorter_side_px)
    except ValidationError as error:
        raise BadManifest(describe_invalid_manifest(error)) from error


def _labels_for(given: str | None, classes: int) -> _Labels:
    if given == IMAGENET or (given is None and classes == len(_IMAGENET_CATEGORIES)):
        return _Labels(tuple(_IMAGENET_CATEGORIES), "ImageNet-1k, as torchvision names them")
    if given is None:
        names = tuple(f"class {index}" for index in range(classes))
        return _Labels(names, "placeholders, none were given")
    path = Path(given)
    return _Labels(decode_labels(read_file(path)), f"from `{path.name}`")


def _describe(new: NewVersion, labels: str, origin: str) -> str:
    """The model card: what is known, and what is not."""
    spec = new.network.spec
    gate = 1 / (1 + math.exp(-spec.initial_bias))
    return _CARD.format(
        name=new.name,
        version=new.version,
        architecture=spec.architecture,
        classes=spec.classes,
        groups=spec.groups,
        origin=origin,
        source=new.source,
        licence=new.licence,
        size_px=new.input.size_px,
        shorter_side_px=new.input.shorter_side_px,
        labels=labels,
        sge=_INSERTED.format(gate=gate) if new.sge_inserted else _TRAINED,
    )
