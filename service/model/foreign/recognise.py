"""Weights by torchvision's names -> the architecture that they are of, or why they are of none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from service.errors import BadCheckpoint
from service.model.foreign.other_networks import name_network
from service.model.resnet import ARCHITECTURES, STAGES, SgeBottleneck

_CONV3 = re.compile(r"layer\d\.\d+\.conv3\.")
_ALIAS = re.compile(r"(?:sge[_ -]?)?res[_ -]?net[_ -]?(\d+)")


@dataclass(frozen=True, slots=True)
class Recognised:
    """What weights are of.

    Attributes:
        architecture: a key of `ARCHITECTURES`.
        why: the names and shapes that tell.
    """

    architecture: str
    why: str


def architecture_of(given: str) -> str:
    """The architecture behind a name that people type: `resnet50`, `SGE_ResNet50`, `sge-resnet-50`.

    Raises:
        BadCheckpoint: there is none.
    """
    alias = _ALIAS.fullmatch(given.strip().lower())
    name = f"sge_resnet{alias[1]}" if alias else given
    if name not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise BadCheckpoint(f"unknown architecture {given!r}, known are: {known}")
    return name


def recognise(weights: Mapping[str, Tensor], file_name: str) -> Recognised:
    """Tell the architecture by how many blocks each stage has, and of which kind.

    Args:
        weights: by torchvision's names.
        file_name: for the messages.

    Raises:
        BadCheckpoint: the weights are of another network; the message says of which, where
            something tells.
    """
    if not weights:
        raise BadCheckpoint(f"{file_name} holds no weights")
    refuse_others(weights, file_name)
    block = "bottleneck" if any(_CONV3.match(name) for name in weights) else "basic"
    repeats = tuple(_blocks_in(stage, weights) for stage in STAGES)
    if not any(repeats):
        raise BadCheckpoint(f"{file_name} holds no residual network; {_supported()}")
    if "fc.weight" not in weights:
        raise BadCheckpoint(
            f"{file_name} has no last layer that can be found, fc.weight of classes x features: "
            "features alone classify nothing"
        )
    for name, depth in ARCHITECTURES.items():
        kind = "bottleneck" if depth.block is SgeBottleneck else "basic"
        if (kind, depth.repeats) == (block, repeats):
            return Recognised(name, f"{', '.join(map(str, repeats))} {block} blocks")
    raise BadCheckpoint(
        f"{file_name} has {', '.join(map(str, repeats))} {block} blocks in its stages, as "
        f"{_depth_of(block, repeats)} has; {_supported()}"
    )


def refuse_others(weights: Mapping[str, Tensor], file_name: str) -> None:
    """Refuse what is known to be another network.

    Raises:
        BadCheckpoint: names the network.
    """
    other = name_network(weights)
    if other is not None:
        raise BadCheckpoint(f"{file_name} seems to be {other}; {_supported()}")


def _supported() -> str:
    return f"networks that can be served are {', '.join(ARCHITECTURES)}, with SGE or without"


def _blocks_in(stage: str, weights: Mapping[str, Tensor]) -> int:
    """How many blocks a stage has, by the highest of their numbers."""
    found = (re.match(rf"{stage}\.(\d+)\.", name) for name in weights)
    return max((int(match[1]) + 1 for match in found if match), default=0)


def _depth_of(block: str, repeats: tuple[int, ...]) -> str:
    """The depth as it is counted: convolutions of the branches, the stem and the last layer."""
    return f"a ResNet-{sum(repeats) * (3 if block == 'bottleneck' else 2) + 2}"
