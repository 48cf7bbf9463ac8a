"""Networks with random weights: speed does not ask what they were trained for."""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from service.images.contract import InputContract
from service.model.resnet import Outputs, ResNetSpec, SgeResNet, plain_resnet
from service.model.shapes import shapes_alone
from service.model.torchvision_resnet import ResNet
from service.store.files import encode_labels, sha256_of
from service.store.load import LoadedModel
from service.store.manifest import Hashes, Manifest
from service.store.write import NewVersion, write_version

SEED = 1905


class PlainNetwork(nn.Module):
    """A ResNet without SGE that is called as one with it; it has no masks to give."""

    def __init__(self, network: ResNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, blocks: Collection[str] = ()) -> Outputs:
        """Classify (B, 3, H, W), normalised."""
        return Outputs(self.network(x), {})


def random_network(spec: ResNetSpec) -> SgeResNet:
    """A network whose every number could be a trained one's: gammas and betas are not zero.

    It is in evaluation mode and without gradients; the same each time.
    """
    network = shapes_alone(spec)
    network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(SEED)
    for name, value in network.state_dict().items():
        value.copy_(_trained_like(name, value, generator))
    return network.eval().requires_grad_(requires_grad=False)


def _trained_like(name: str, value: Tensor, generator: torch.Generator) -> Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.zeros_like(value)
    if name.endswith("running_var"):
        return 0.5 + torch.rand(value.shape, generator=generator)
    noise = torch.randn(value.shape, generator=generator)
    if ".sge." in name:
        return noise
    if value.ndim > 1:
        return noise * math.sqrt(2 / value[0].numel())  # keeps the size of activations
    return noise / 4 + (1.0 if name.endswith("weight") else 0.0)


def without_sge(network: SgeResNet) -> PlainNetwork:
    """The same weights in torchvision's network."""
    plain = plain_resnet(network.spec)
    weights = {n: v for n, v in network.state_dict().items() if ".sge." not in n}
    plain.load_state_dict(weights)
    return PlainNetwork(plain.eval().requires_grad_(requires_grad=False))


def random_model(spec: ResNetSpec) -> LoadedModel:
    """A random network as the store would give it, cropping as is usual on ImageNet."""
    labels = tuple(f"class {index}" for index in range(spec.classes))
    network = random_network(spec)
    weights = safetensors.torch.save(network.state_dict())
    manifest = Manifest(
        name="random",
        version="1",
        architecture=spec.architecture,
        stem=spec.stem,
        groups=spec.groups,
        classes=spec.classes,
        input=InputContract(
            size_px=spec.input_px, fit="crop", shorter_side_px=spec.input_px * 256 // 224
        ),
        sha256=Hashes(weights=sha256_of(weights), labels=sha256_of(encode_labels(labels))),
        licence="none needed",
        source="random numbers",
    )
    return LoadedModel(manifest, labels, network)


def write_store(model: LoadedModel, store: Path) -> Path:
    """Write a model into a model store of its own, for a process that serves or compiles it."""
    manifest = model.manifest
    new = NewVersion(
        name=manifest.name,
        version=manifest.version,
        network=model.network,
        labels=model.labels,
        input=manifest.input,
        licence=manifest.licence,
        source=manifest.source,
        card="Random numbers, for a measurement.\n",
    )
    write_version(store, new)
    return store
