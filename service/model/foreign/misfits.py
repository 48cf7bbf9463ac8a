"""Where weights do not fit a network: the nearest misses, and what was expected."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from torch import Tensor

from service.errors import BadCheckpoint
from service.model.checkpoint import find_misfits
from service.model.resnet import ResNetSpec
from service.model.shapes import shapes_alone

SHOWN = 5


def refuse_misfits(weights: Mapping[str, Tensor], spec: ResNetSpec, *, has_sge: bool) -> None:
    """Refuse weights that are not those of a network.

    Args:
        weights: by torchvision's names.
        spec: of the network.
        has_sge: the weights hold SGE's; else theirs are not missed.

    Raises:
        BadCheckpoint: counts what is missing, unexpected or misshapen, and shows the first of it.
    """
    expected = {
        name: value
        for name, value in shapes_alone(spec).state_dict().items()
        if has_sge or ".sge." not in name
    }
    misfits = find_misfits(expected, weights)
    told = [f"{len(names)} {kind}" for kind, names in misfits.by_kind().items()]
    if not told:
        return
    misses = [
        f"{name} is {_shape(weights[name])}, expected {_shape(expected[name])}"
        for name in misfits.misshapen
    ]
    misses += _pairs(misfits.missing, misfits.unexpected, expected)
    raise BadCheckpoint(
        f"the weights do not fit {spec.architecture} with {spec.classes} classes and "
        f"{spec.groups} groups: {', '.join(told)}; nearest: {'; '.join(misses[:SHOWN])}"
    )


def _pairs(
    missing: Sequence[str], unexpected: Sequence[str], expected: Mapping[str, Tensor]
) -> list[str]:
    """Each missing name with the one that is there instead, if any, then what is left over."""
    left, misses, alone = list(unexpected), [], []
    for name in missing[: 4 * SHOWN]:  # comparing names is slow
        shape = _shape(expected[name])
        for near in difflib.get_close_matches(name, left[:500], n=1, cutoff=0.8):
            misses.append(f"{near} is there, expected {name} {shape}")
            left.remove(near)
            break
        else:
            alone.append(f"{name} is missing, expected {shape}")
    return misses + alone + [f"{name} is not expected" for name in left]


def _shape(value: Tensor) -> str:
    return "x".join(map(str, value.shape)) or "a number"
