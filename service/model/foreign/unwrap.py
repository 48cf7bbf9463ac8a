"""The leaves of a checkpoint -> the weights of one network, and what of the file is left out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from service.errors import BadCheckpoint
from service.model.foreign.head import (
    Head,
    find_head,
    is_auxiliary,
    missing_bias,
    refuse_further_layers,
)
from service.model.foreign.leaves import kind_of
from service.model.foreign.parts import Part, choose_part, group_of, parts_of

_TRUNK = re.compile(r"(?:conv1|bn1|layer\d+)\.|fc\.(?:weight|bias)$")


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something of a file that is not imported: its name, and what it is."""

    name: str
    what: str


@dataclass(frozen=True, slots=True)
class Unwrapped:
    """The weights of one network in a file.

    Attributes:
        weights: as the file has them, by torchvision's names.
        part: the prefix that they had, empty where they had none.
        left_out: everything else in the file.
        notes: what a person should know of how they were taken.
    """

    weights: dict[str, Any]
    part: str
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()


def unwrap(
    leaves: Mapping[str, Any],
    file_name: str,
    wanted: str | None = None,
    unwanted: Sequence[str] = (),
) -> Unwrapped:
    """Find the weights of a residual network among the leaves of a file.

    Args:
        leaves: from `leaves_of`.
        file_name: for the messages.
        wanted: the prefix of the weights, where a file holds several networks.
        unwanted: leaves, or their prefixes, that are passed over.

    Returns:
        Of a file without residual blocks, all its tensors.

    Raises:
        BadCheckpoint: there are several networks and none is preferred, the last layer is none that
            can be served, other layers may belong to it, or nothing of an unwanted name is there.
    """
    leaves = _without(leaves, unwanted, file_name)
    parts = parts_of(leaves)
    if not parts:
        return Unwrapped(_tensors(leaves), "")
    part = choose_part(parts, wanted, file_name)
    weights = {
        name: leaves[part.path(name)] for name in part.names if _is_of_network(name, part, leaves)
    }
    notes, taken = _averaging(part, parts), {part.path(name) for name in weights}
    beside = _beside(part, parts, leaves)
    if "fc.weight" not in weights:
        head = find_head(beside, part.prefix, file_name)
        weights = {name: v for name, v in weights.items() if part.path(name) not in head.paths}
        weights |= _between(beside, head) | head.tensors
        notes, taken = notes + head.notes, taken | head.paths
    further = {path: value for path, value in beside.items() if path not in taken}
    if "fc.weight" in weights:
        refuse_further_layers(further, weights["fc.weight"], part.prefix, file_name)
    if bias := missing_bias(weights):
        weights, notes = weights | bias, (*notes, "the last layer has no bias, zeros are taken")
    rest = {path: value for path, value in leaves.items() if path not in taken}
    left_out = (
        *(LeftOut(name, "as asked for") for name in unwanted),
        *_left_out(rest, part.prefix),
    )
    return Unwrapped(weights, part.prefix, left_out, notes)


def _without(
    leaves: Mapping[str, Any], unwanted: Sequence[str], file_name: str
) -> Mapping[str, Any]:
    for name in unwanted:
        kept = {path: v for path, v in leaves.items() if not f"{path}.".startswith(f"{name}.")}
        if len(kept) == len(leaves):
            raise BadCheckpoint(f"{file_name} holds no {name!r} that could be left out")
        leaves = kept
    return leaves


def _is_of_network(name: str, part: Part, leaves: Mapping[str, Any]) -> bool:
    """Whether the network needs it, or may: what is unknown is not dropped without a word."""
    if _TRUNK.match(name):
        return True
    value = leaves[part.path(name)]
    return isinstance(value, Tensor) and _may_be_layer(name, value)


def _may_be_layer(name: str, value: Tensor) -> bool:
    return value.ndim > 0 and value.is_floating_point() and not is_auxiliary(name)


def _tensors(leaves: Mapping[str, Any]) -> dict[str, Tensor]:
    return {path: value for path, value in leaves.items() if isinstance(value, Tensor)}


def _beside(part: Part, parts: list[Part], leaves: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors that belong neither to the blocks of a network nor to another network."""
    others = {other.path(name) for other in parts if other is not part for name in other.names}
    trunk = {part.path(name) for name in part.names if _TRUNK.match(name)}
    return {path: v for path, v in _tensors(leaves).items() if path not in others | trunk}


def _between(beside: Mapping[str, Tensor], head: Head) -> dict[str, Tensor]:
    """What lies beside a last layer and may be a layer before it."""
    if not head.paths:
        return {}
    around = {path: value for path, value in beside.items() if path.startswith(head.around)}
    return {
        name: value
        for path, value in around.items()
        if path not in head.paths and _may_be_layer(name := path.removeprefix(head.around), value)
    }


def _averaging(part: Part, parts: list[Part]) -> tuple[str, ...]:
    if not part.is_averaged:
        return ()
    others = ", ".join(other.label for other in parts if other is not part)
    return (f"averaged weights{f', preferred to {others}' if others else ''}",)


def _left_out(rest: Mapping[str, Any], prefix: str) -> tuple[LeftOut, ...]:
    """Group leaves by the first name by which they differ from what was taken."""
    groups: dict[str, list[Any]] = {}
    for path, value in rest.items():
        groups.setdefault(group_of(path, prefix), []).append((path, value))
    return tuple(LeftOut(name, _describe(name, entries)) for name, entries in groups.items())


def _describe(name: str, entries: list[tuple[str, Any]]) -> str:
    if [path for path, _ in entries] == [name]:
        return kind_of(entries[0][1])
    tensors = sum(isinstance(value, Tensor) for _, value in entries)
    count, kind = (tensors, "tensor") if tensors else (len(entries), "value")
    return f"{count} {kind}{'' if count == 1 else 's'}"
