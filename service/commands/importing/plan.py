"""What an import would make of a checkpoint, before anything is written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from service.commands.importing.card import write_card
from service.commands.importing.request import ImportRequest
from service.commands.importing.sources import Sources, files_beside, found_labels, said_of_input
from service.errors import BadCheckpoint
from service.model.checkpoint import stem_of
from service.model.foreign.read import Checkpoint, adopt_checkpoint, read_checkpoint
from service.model.resnet import SgeResNet, Stem
from service.store.files import read_file, sha256_of
from service.store.labels import Labels, choose_labels
from service.store.load import LoadedModel, list_versions
from service.store.preprocessing import ResolvedInput, resolve_input
from service.store.reference import ReferenceNetwork
from service.store.write import EncodedVersion, NewVersion, encode_version


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """A version before it is written, and all there is to say of it."""

    request: ImportRequest
    size_bytes: int
    sources: Sources
    checkpoint: Checkpoint
    input: ResolvedInput
    labels: Labels
    new: NewVersion
    encoded: EncodedVersion

    @property
    def model(self) -> LoadedModel:
        """The model as it would be loaded."""
        reference = ReferenceNetwork(self.new.network, self._network)
        return LoadedModel(self.encoded.manifest, self.new.labels, reference)

    def _network(self) -> SgeResNet:
        return self.new.network


def plan_import(request: ImportRequest, store: Path) -> ImportPlan:
    """Read a checkpoint and make a version of it that only has to be written.

    Raises:
        MissingFile: the checkpoint or the labels cannot be read.
        BadCheckpoint: the weights are not safe, are of no network that can be served, or do not
            fit the architecture that is asked for, or a stem that they do not tell.
        BadManifest: the name, version, input or labels make no sense, or the version exists.
    """
    content = read_file(request.file)
    checkpoint = read_checkpoint(content, request.file.name, request.part, request.left_out)
    sources = Sources(checkpoint.content, files_beside(request.file), sha256_of(content))
    stem = stem_of(checkpoint.weights)
    _check_stem(stem, request)
    resolved = resolve_input(said_of_input(request, sources), stem)
    adopted = adopt_checkpoint(
        checkpoint,
        request.architecture,
        groups=request.groups,
        input_px=resolved.contract.size_px,
    )
    classes = adopted.network.spec.classes
    labels = choose_labels(request.labels, found_labels(sources), classes)
    new = NewVersion(
        name=request.name,
        version=request.version or _next_version(store / request.name),
        network=adopted.network,
        labels=labels.names,
        input=resolved.contract,
        licence=request.licence,
        source=request.source or f"the file {request.file.name}",
        sge_inserted=adopted.sge_inserted,
        half_weights=checkpoint.precisions == ("float16",),
        card="",
    )
    origin = f"`{request.file.name}`, sha256 `{sources.sha256}`"
    new = replace(new, card=write_card(new, origin, labels.origin, resolved.who_says()))
    return ImportPlan(
        request,
        len(content),
        sources,
        checkpoint,
        resolved,
        labels,
        new,
        encode_version(store, new),
    )


def _check_stem(found: Stem, request: ImportRequest) -> None:
    """Take a stem that weights do not tell only where a person vouches for it."""
    if request.stem not in (None, found):
        raise BadCheckpoint(f"the stem is {found} by its convolution, not {request.stem}")
    if found == "small" and request.stem is None and not request.expected:
        raise BadCheckpoint(
            f"{request.file.name} has a stem of 3x3, and no weight tells its stride; stride 2 and "
            "no pooling are assumed: say --stem small if that is yours, or have it checked by "
            "--expect PICTURE=CLASS. A stem of stride 1, as for CIFAR, cannot be served"
        )


def _next_version(model: Path) -> str:
    versions = list_versions(model)
    return str(int(versions[-1].name) + 1 if versions else 1)
