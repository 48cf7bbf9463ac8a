"""Small networks, checkpoints and new versions for the tests of what reads and writes them."""

from __future__ import annotations

import functools
import io
import json
import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from torchvision.models.resnet import ResNet

from service.images.contract import InputContract
from service.model.resnet import ResNetSpec, SgeResNet, plain_resnet
from service.store.files import LABELS_FILE, WEIGHTS_FILE, sha256_of
from service.store.write import NewVersion

TINY = ResNetSpec(
    architecture="sge_resnet18", classes=3, groups=8, initial_bias=0.0, input_px=32, stem="small"
)
LABELS = ("cat", "dog", "gnu")

Network = TypeVar("Network", bound=ResNet)


def random_network(build: Callable[[ResNetSpec], Network], spec: ResNetSpec) -> Network:
    """A network whose every parameter and statistic could be a trained one's, for evaluation.

    SGE gets gammas and betas that are not zero.
    """
    with torch.device("meta"):  # the usual random numbers would only be thrown away
        network = build(spec)
    network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(1)
    for name, value in network.state_dict().items():
        value.copy_(_trained_like(name, value, generator))
    return network.eval().requires_grad_(requires_grad=False)


def _trained_like(name: str, value: Tensor, generator: torch.Generator) -> Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.tensor(100)
    noise = torch.randn(value.shape, generator=generator)
    if name.endswith("running_var"):
        return noise.abs() + 0.5
    if ".sge." in name or value.ndim == 1:
        return 1 + noise / 4
    return noise * math.sqrt(2 / value[0].numel())  # keeps the size of activations


@functools.cache
def tiny_network() -> SgeResNet:
    """An SGE-ResNet-18 with random weights, shared by all tests: not to be changed."""
    return random_network(SgeResNet, TINY)


@functools.cache
def tiny_plain_weights() -> dict[str, Tensor]:
    """The state dict of the same network without SGE: not to be changed."""
    return dict(random_network(plain_resnet, TINY).state_dict())


def tiny_weights() -> dict[str, Tensor]:
    """A copy of `tiny_network`'s state dict that may be changed key by key."""
    return dict(tiny_network().state_dict())


def new_tiny_version(**changes: Any) -> NewVersion:
    """A version of `tiny_network` ready to be written."""
    new = NewVersion(
        name="tiny",
        version="1",
        network=tiny_network(),
        labels=LABELS,
        input=InputContract(size_px=32, fit="fit"),
        licence="CC0-1.0",
        source="random numbers",
        card="# tiny\n",
    )
    return replace(new, **changes)


class RunsCommand:
    """Unpickled by plain `pickle`, it runs a shell command."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def pickled(content: object, *, legacy: bool = False) -> bytes:
    """What `torch.save` writes; `legacy` is the format before torch 1.6."""
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def random_input(side_px: int) -> Tensor:
    """Two images (2, 3, S, S) float32, always the same."""
    generator = torch.Generator().manual_seed(2)
    return torch.randn(2, 3, side_px, side_px, generator=generator)


def overwrite(path: Path, content: bytes) -> str:
    """Put a file in another's place, unlinking it, and return the new one's hash."""
    path.unlink()
    path.write_bytes(content)
    return sha256_of(content)


def edit_manifest(directory: Path, **changes: Any) -> None:
    """Change fields of a version's manifest."""
    path = directory / "manifest.json"
    manifest = json.loads(path.read_bytes()) | changes
    overwrite(path, json.dumps(manifest).encode())


def replace_file(directory: Path, kind: str, content: bytes) -> None:
    """Put another file in the place of a version's weights or labels, its hash in the manifest."""
    name = {"weights": WEIGHTS_FILE, "labels": LABELS_FILE}[kind]
    hashes = json.loads((directory / "manifest.json").read_bytes())["sha256"]
    edit_manifest(directory, sha256=hashes | {kind: overwrite(directory / name, content)})


def snapshot(folder: Path) -> dict[str, tuple[int, str]]:
    """Every file and folder below, with the time it last changed and the hash of its content."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mtime_ns,
            sha256_of(path.read_bytes()) if path.is_file() else "",
        )
        for path in sorted(folder.rglob("*"))
    }
