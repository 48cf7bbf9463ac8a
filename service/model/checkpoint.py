"""Published checkpoints -> our network, strict and safe.

Weights are dicts of tensors on the CPU, named as torchvision names them, plus `<block>.sge.weight`
and `<block>.sge.bias`. K: classes, G: groups.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from service.errors import BadCheckpoint
from service.model.resnet import ResNetSpec, SgeBottleneck, SgeResNet, Stem
from service.model.shapes import shapes_alone
from service.model.weights_file import COUNTER, Weights

DEFAULT_GROUPS = 64  # the authors' choice


@dataclass(frozen=True, slots=True)
class Adopted:
    """A network made from published weights, and whether SGE had to be inserted."""

    network: SgeResNet
    sge_inserted: bool


@dataclass(frozen=True, slots=True)
class Misfits:
    """Names by which weights differ from those of a network."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshapen: tuple[str, ...]

    def by_kind(self) -> dict[str, tuple[str, ...]]:
        """The names that there are, by what is wrong with them; empty where everything fits."""
        kinds = {
            "missing": self.missing,
            "unexpected": self.unexpected,
            "misshapen": self.misshapen,
        }
        return {kind: names for kind, names in kinds.items() if names}


def adopt_weights(weights: Weights, spec: ResNetSpec) -> Adopted:
    """Build a network of weights that fit; where they lack SGE, insert it.

    Args:
        weights: compared with the network's already, but for SGE's where there are none.
        spec: from `spec_of`.

    Raises:
        BadCheckpoint: values are NaN or infinite.
    """
    fitted = weights if has_sge(weights) else insert_sge(weights, spec)
    return Adopted(_filled(shapes_alone(spec), fitted), sge_inserted=not has_sge(weights))


def spec_of(
    weights: Weights, architecture: str, *, groups: int | None = None, input_px: int = 224
) -> ResNetSpec:
    """What a network of these weights would be. Stem, classes and groups follow from the shapes.

    Args:
        weights: by torchvision's names.
        architecture: a key of `ARCHITECTURES`.
        groups: G of the inserted SGE; weights with SGE must agree where it is given.
        input_px: side of the input the network will get.

    Raises:
        BadCheckpoint: the groups differ from those asked for; the architecture is unknown or
            cannot take the groups or the input.
    """
    spec = ResNetSpec(
        architecture=architecture,
        classes=_classes_of(weights),
        groups=_groups_of(weights, groups),
        input_px=input_px,
        stem=stem_of(weights),
    )
    try:
        spec.check()
    except ValueError as error:
        raise BadCheckpoint(str(error)) from error
    return spec


def stem_of(weights: Weights) -> Stem:
    """The stem by its convolution. How it strides and whether it pools, no weight tells."""
    return "small" if _shape(weights, "conv1.weight")[-1:] == (3,) else "imagenet"


def has_sge(weights: Weights) -> bool:
    """Whether SGE is part of the weights."""
    return any(".sge." in name for name in weights)


def build_network(spec: ResNetSpec, weights: Weights) -> SgeResNet:
    """Make the network of `spec` with exactly these weights.

    Returns:
        A network in evaluation mode, without gradients, that shares memory with `weights`.

    Raises:
        BadCheckpoint: keys are missing, unexpected or misshapen (the message lists them all), or
            values are NaN or infinite.
    """
    network = shapes_alone(spec)
    _refuse_misfits(network.state_dict(), weights, spec)
    return _filled(network, weights)


def find_misfits(expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> Misfits:
    """Compare names and shapes; BatchNorm's counters are not missed."""
    return Misfits(
        tuple(name for name in expected if name not in given and not name.endswith(COUNTER)),
        tuple(name for name in given if name not in expected),
        tuple(n for n in expected if n in given and expected[n].shape != given[n].shape),
    )


def insert_sge(weights: Weights, spec: ResNetSpec) -> Weights:
    """Add SGE to a plain network's weights so that its function stays the same.

    With gamma = 0 every gate is sigmoid(beta); the last BatchNorm of each branch is divided by it.

    Args:
        weights: of a torchvision ResNet.
        spec: a checked network whose groups and initial beta the SGE modules take.
    """
    gate = torch.sigmoid(torch.tensor(spec.initial_bias))
    last_norm = "bn3" if spec.depth.block is SgeBottleneck else "bn2"
    inserted = dict(weights)
    for block in spec.blocks():
        inserted[f"{block.name}.sge.weight"] = torch.zeros(1, spec.groups, 1, 1)
        inserted[f"{block.name}.sge.bias"] = torch.full((1, spec.groups, 1, 1), spec.initial_bias)
        for name in (f"{block.name}.{last_norm}.weight", f"{block.name}.{last_norm}.bias"):
            if name in weights:  # an absent one is reported with everything else that is
                inserted[name] = weights[name] / gate
    return inserted


def refuse_non_finite(weights: Weights) -> None:
    """Refuse weights with NaN or infinity in them.

    Raises:
        BadCheckpoint: names every such tensor.
    """
    names = [name for name, value in weights.items() if not _is_finite(value)]
    if names:
        raise BadCheckpoint(f"nan or infinite weights in {', '.join(names)}")


def _is_finite(value: Tensor) -> bool:
    """By its extremes, which NaN is both of; ten times as fast as a look at every number."""
    return not value.numel() or all(extreme.isfinite() for extreme in value.aminmax())


def _filled(network: SgeResNet, weights: Weights) -> SgeResNet:
    """Put weights that fit into a network without any."""
    names = network.state_dict()
    counters = {name: torch.tensor(0) for name in names if name.endswith(COUNTER)}
    refuse_non_finite(weights)
    network.load_state_dict(counters | weights, assign=True)
    return network.eval().requires_grad_(False)


def _refuse_misfits(expected: Weights, given: Weights, spec: ResNetSpec) -> None:
    kinds = find_misfits(expected, given).by_kind()
    shapes = (
        f"{name} {_shape(given, name)}, needs {_shape(expected, name)}"
        for name in kinds.pop("misshapen", ())
    )
    told = {**kinds, "misshapen": (*shapes,)}
    problems = [f"{kind}: {', '.join(names)}" for kind, names in told.items() if names]
    if problems:
        raise BadCheckpoint(
            f"the weights do not fit {spec.architecture} with {spec.classes} classes and "
            f"{spec.groups} groups; {'; '.join(problems)}"
        )


def _shape(weights: Weights, name: str) -> tuple[int, ...]:
    """The shape of a tensor, `()` where there is no such tensor."""
    return tuple(weights[name].shape) if name in weights else ()


def _classes_of(weights: Weights) -> int:
    """K by the shape of `fc`; 1000 where it has none, which is reported when nothing fits."""
    return (_shape(weights, "fc.weight") or (1000,))[0]


def _groups_of(weights: Weights, groups: int | None) -> int:
    """G by most of the SGE shapes (those that differ are misshapen), else those given."""
    shapes = [_shape(weights, name) for name in weights if ".sge." in name]
    sizes = [shape[1] for shape in shapes if len(shape) == 4]
    if not sizes:
        return DEFAULT_GROUPS if groups is None else groups
    found = statistics.mode(sizes)
    if groups not in (None, found):
        raise BadCheckpoint(f"the weights have {found} groups, {groups} were asked for")
    return found
