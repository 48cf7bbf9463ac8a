"""A checkpoint's bytes -> weights that are recognised -> a network of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from service.errors import BadCheckpoint
from service.model.checkpoint import Adopted, adopt_weights, has_sge, spec_of
from service.model.foreign.leaves import leaves_of
from service.model.foreign.misfits import refuse_misfits
from service.model.foreign.recognise import Recognised, architecture_of, recognise, refuse_others
from service.model.foreign.safe_types import SAFE_TYPES
from service.model.foreign.unwrap import Unwrapped, unwrap
from service.model.weights_file import (
    COUNTER,
    Weights,
    as_float32,
    read_content,
    refuse_other_than_floats,
)

NETWORK_BYTES = 300_000_000  # the largest network that is served takes 241 MB
WIDENED = 2  # half precision becomes single


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint of a residual network.

    Attributes:
        content: all that the file holds, as it is nested there.
        unwrapped: which of it are the weights, and what else there is.
        weights: as the file has them, by torchvision's names; none is copied before its shape is
            known to fit.
        precisions: the dtypes that they have in the file, most numbers first.
        recognised: the architecture that they tell.
    """

    content: Mapping[Any, Any]
    unwrapped: Unwrapped
    weights: Weights
    precisions: tuple[str, ...]
    recognised: Recognised


def read_checkpoint(
    content: bytes, file_name: str, part: str | None = None, left_out: Sequence[str] = ()
) -> Checkpoint:
    """Read and recognise a checkpoint without running any code it may hold.

    Args:
        content: the file's bytes.
        file_name: its ending decides the format; it is named in messages.
        part: the prefix of the weights, where a file holds several networks.
        left_out: names, or prefixes of names, that a person has left out.

    Raises:
        BadCheckpoint: the file is none that can be read, or its weights are of no network that
            can be served.
    """
    held = read_content(content, file_name, SAFE_TYPES)
    if not isinstance(held, Mapping):
        raise BadCheckpoint(f"{file_name} holds a {type(held).__name__}, not a state dict")
    leaves = leaves_of(held)
    unwrapped = unwrap(leaves, file_name, part, left_out)
    if "fc.weight" not in unwrapped.weights:  # of a detector, a backbone alone looks like ours
        refuse_others({n: v for n, v in leaves.items() if isinstance(v, Tensor)}, file_name)
    weights = _without_counts(unwrapped.weights)
    refuse_other_than_floats(
        {name: value for name, value in weights.items() if not isinstance(value, Tensor)}, file_name
    )
    recognised = recognise(weights, file_name)
    refuse_other_than_floats(weights, file_name)
    _refuse_repeated(weights, len(content), file_name)
    return Checkpoint(
        content=held,
        unwrapped=unwrapped,
        weights=weights,
        precisions=_precisions_of(unwrapped.weights),
        recognised=recognised,
    )


def adopt_checkpoint(
    checkpoint: Checkpoint, architecture: str | None, *, groups: int | None, input_px: int
) -> Adopted:
    """Make the network of a checkpoint.

    Args:
        checkpoint: from `read_checkpoint`.
        architecture: that it must have, by any alias; None takes what was recognised.
        groups: of an inserted SGE; weights with SGE must agree where it is given.
        input_px: side of the input the network will get.

    Raises:
        BadCheckpoint: the weights are of another architecture, do not fit it, are not finite, or
            the network cannot take the groups or the input.
    """
    found, weights = checkpoint.recognised, checkpoint.weights
    name = found.architecture if architecture is None else architecture_of(architecture)
    spec = spec_of(weights, name, groups=groups, input_px=input_px)
    if name != found.architecture:
        raise BadCheckpoint(
            f"the weights do not fit {name} with {spec.classes} classes: they have {found.why}, "
            f"as {found.architecture} has"
        )
    refuse_misfits(weights, spec, has_sge=has_sge(weights))
    copies = as_float32(weights, "the checkpoint")
    return adopt_weights(copies, spec)


def _refuse_repeated(weights: Mapping[str, Tensor], file_bytes: int, file_name: str) -> None:
    """Refuse tensors that repeat a few numbers without end, as strides of 0 do."""
    needed = sum(value.numel() for value in weights.values()) * 4
    if needed > WIDENED * file_bytes + NETWORK_BYTES:
        raise BadCheckpoint(
            f"{file_name} has {file_bytes / 1e6:.1f} MB, and its weights would take "
            f"{needed / 1e6:.0f} MB"
        )


def _without_counts(weights: Mapping[str, Any]) -> dict[str, Any]:
    """The weights with BatchNorm's counters at 0, whatever a file has there."""
    return {n: torch.tensor(0) if n.endswith(COUNTER) else value for n, value in weights.items()}


def _precisions_of(weights: Mapping[str, Any]) -> tuple[str, ...]:
    numbers: dict[str, int] = {}
    for value in weights.values():
        if isinstance(value, Tensor) and value.is_floating_point():
            name = str(value.dtype).removeprefix("torch.")
            numbers[name] = numbers.get(name, 0) + value.numel()
    return tuple(sorted(numbers, key=lambda name: -numbers[name]))
