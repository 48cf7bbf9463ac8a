"""Networks with random weights, and the forms of one: speed asks not what they were trained for."""

from __future__ import annotations

import copy
from collections.abc import Collection
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from service.engines.device import DTYPES
from service.images.contract import InputContract
from service.model.fuse import FusedResNet, fuse
from service.model.graph import InferenceGraph
from service.model.resnet import Outputs, ResNetSpec, SgeResNet, plain_resnet
from service.model.shapes import shapes_alone
from service.store.load import LoadedModel, load_version
from service.store.write import NewVersion, write_version
from tests.store_fixtures import random_network

PLAIN, AS_WRITTEN, FUSED = FORMS = "plain", "as written", "fused"
"""The forms of a network: without SGE; with it, as the paper has it; and rewritten by `fuse`."""

PLAIN_BY_KERNELS = f"{PLAIN}, our kernels"
"""The plain network, too, its convolutions by the compiled engine's kernels: fp32 on a CPU."""

PLAINS = PLAIN, PLAIN_BY_KERNELS

SHIPPED = ResNetSpec("sge_resnet18", classes=10, groups=8, input_px=56, stem="small")
"""The shapes of the model that ships."""

SHIPPED_NAME = "shipped"


def shipped(form: str) -> str:
    """What rows call a form of the network that ships."""
    return f"{SHIPPED_NAME}, {form}"


def input_of(spec: ResNetSpec) -> InputContract:
    """What a network takes: pictures cropped as is usual on ImageNet."""
    return InputContract(
        size_px=spec.input_px, fit="crop", shorter_side_px=spec.input_px * 256 // 224
    )


def random_model(spec: ResNetSpec, store: Path) -> LoadedModel:
    """Write a random network into a model store, and load it."""
    new = NewVersion(
        name="random",
        version="1",
        network=random_network(SgeResNet, spec),
        labels=tuple(f"class {index}" for index in range(spec.classes)),
        input=input_of(spec),
        licence="none needed",
        source="random numbers",
        card="Random numbers, for a measurement.\n",
    )
    return load_version(write_version(store, new))


class PlainNetwork(nn.Module):
    """The weights of a network in torchvision's without SGE; it has no masks to give."""

    def __init__(self, network: SgeResNet) -> None:
        super().__init__()
        self.network = plain_resnet(network.spec)
        self.network.load_state_dict(
            {name: v for name, v in network.state_dict().items() if ".sge." not in name}
        )

    def forward(self, x: Tensor, blocks: Collection[str] = ()) -> Outputs:
        """Classify (B, 3, H, W), normalised."""
        return Outputs(self.network(x), {})


def graph_of(model: LoadedModel, form: str, precision: str) -> InferenceGraph:
    """One form of a network, uint8 pixels in."""
    network: SgeResNet | FusedResNet | PlainNetwork
    if form == PLAIN:
        network = PlainNetwork(model.network)
    else:
        network = fuse(model.network) if form == FUSED else copy.deepcopy(model.network)
    contract = model.manifest.input
    return InferenceGraph(network, contract.mean, contract.std, DTYPES[precision])  # type: ignore[arg-type]  # the plain one is called as the others are


def convolution_operations(spec: ResNetSpec) -> int:
    """Operations of all convolutions on one image: a multiplication and a sum are two."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        shapes_alone(spec).eval()(torch.zeros(1, 3, spec.input_px, spec.input_px))
    by_kind = counter.get_flop_counts()["Global"]
    return sum(count for kind, count in by_kind.items() if "convolution" in str(kind))
