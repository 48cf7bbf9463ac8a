"""Which networks a file holds, and which of them is meant.

A part is a run of leaves with one prefix that holds residual blocks: whatever the wrappings are
called, the weights lie where the blocks do. Averaged weights are preferred to those they average.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from service.errors import BadCheckpoint

_BLOCK = re.compile(r"(?:(.*)\.)?layer[1-4]\.\d+\.(?:conv|bn|norm|sge|downsample|shortcut)")
PARTS_LIMIT = 32  # every leaf is compared with each
_OF_TRAINING = re.compile(r"optim|sched|scaler|grad|exp_avg|momentum_buffer|callbacks|loops")
_AVERAGED = {"ema", "swa", "averaged"}
_WRAPPINGS = {
    *("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module"),
    *("weights", "params", "_orig_mod", "backbone", "encoder", "resnet", "trunk", "body"),
}


@dataclass(frozen=True, slots=True)
class Part:
    """One network in a file.

    Attributes:
        prefix: of its leaves, without the last dot; empty where they have none.
        names: of its leaves, below the prefix.
        is_averaged: its weights are averages over steps of training.
    """

    prefix: str
    names: tuple[str, ...]
    is_averaged: bool

    @property
    def label(self) -> str:
        """What it is called, by us and by whoever asks for it."""
        return self.prefix or "top"

    def path(self, name: str) -> str:
        """The leaf of one of its names."""
        return f"{self.prefix}.{name}" if self.prefix else name


def parts_of(leaves: Mapping[str, Any]) -> list[Part]:
    """Every network with residual blocks, in the file's order.

    Raises:
        BadCheckpoint: there are more than anybody trains at once.
    """
    found = (_BLOCK.match(path) for path, value in leaves.items() if isinstance(value, Tensor))
    prefixes = list(dict.fromkeys(match[1] or "" for match in found if match))
    prefixes = [prefix for prefix in prefixes if not is_of_training(prefix)]
    if len(prefixes) > PARTS_LIMIT:
        raise BadCheckpoint(f"{len(prefixes)} networks in one file, at most {PARTS_LIMIT} are read")
    return [
        Part(prefix, tuple(_names_below(prefix, leaves, prefixes)), _is_averaged(prefix, leaves))
        for prefix in prefixes
    ]


def choose_part(parts: list[Part], wanted: str | None, file_name: str) -> Part:
    """The network that is meant: the one asked for, else averaged weights, else the only one.

    Raises:
        BadCheckpoint: there is none of that name, or none is preferred to the others.
    """
    if wanted is not None:
        return _only(
            [part for part in parts if f"{part.label}.".startswith(f"{wanted}.")],
            f"{file_name} has no single network {wanted!r}, there are: {_listed(parts)}",
        )
    whole = [part for part in parts if _is_whole(part, parts)]
    averaged = [part for part in whole if part.is_averaged]
    plain = [part for part in whole if not part.is_averaged and _is_plain(part.prefix)]
    for preferred in (averaged, plain, whole):
        if len(preferred) == 1:
            return preferred[0]
    raise BadCheckpoint(
        f"{file_name} holds several networks, choose one by --part: {_listed(parts)}"
    )


def is_of_training(path: str) -> bool:
    """Whether a name is that of an optimiser's or a scheduler's state, not of a network."""
    return bool(_OF_TRAINING.search(path.lower()))


def words_of(name: str) -> set[str]:
    """The words of a dotted name: `ema_model.fc` has ema, model and fc."""
    return set(re.split(r"[._]", name.lower()))


def has_item(value: Tensor) -> bool:
    """Whether it is one number that can be read: sparse ones and those without memory cannot."""
    is_here = value.layout is torch.strided and value.device.type == "cpu"
    return is_here and value.numel() == 1 and not value.is_complex()


def beyond(path: str, prefix: str) -> list[str]:
    """The steps of a path from the first one on by which it differs from a prefix."""
    steps, of_prefix = path.split("."), prefix.split(".") if prefix else []
    shared = 0
    while shared < min(len(of_prefix), len(steps) - 1) and steps[shared] == of_prefix[shared]:
        shared += 1
    return steps[shared:]


def group_of(path: str, prefix: str) -> str:
    """A path up to the first step by which it differs from a prefix."""
    further = beyond(path, prefix)
    return ".".join(path.split(".")[: 1 - len(further) or None])


def _names_below(
    prefix: str, leaves: Mapping[str, Any], prefixes: Collection[str]
) -> Iterator[str]:
    """The leaves with a prefix that belong to no longer one."""
    start = f"{prefix}." if prefix else ""
    others = tuple(f"{p}." for p in prefixes if p != prefix and p.startswith(start))
    for path in leaves:
        if path.startswith(start) and not path.startswith(others):
            yield path[len(start) :]


def _is_averaged(prefix: str, leaves: Mapping[str, Any]) -> bool:
    """By torch's own count of averaged steps where there is one, else by the prefix."""
    parent = prefix.rpartition(".")[0]
    count = leaves.get(f"{parent}.n_averaged" if parent else "n_averaged")
    if isinstance(count, Tensor) and has_item(count):
        return bool(count.item() > 0)
    return bool(words_of(prefix) & _AVERAGED)


def _is_plain(prefix: str) -> bool:
    return set(prefix.split(".")) <= _WRAPPINGS | {""}


def _is_whole(part: Part, parts: list[Part]) -> bool:
    """Whether it lacks nothing of BatchNorm, as averages of parameters alone do."""
    any_has = any(_has_statistics(other) for other in parts)
    return _has_statistics(part) or not any_has


def _has_statistics(part: Part) -> bool:
    return any(name.endswith("running_var") for name in part.names)


def _only(parts: list[Part], complaint: str) -> Part:
    if len(parts) != 1:
        raise BadCheckpoint(complaint)
    return parts[0]


def _listed(parts: list[Part]) -> str:
    return ", ".join(part.label for part in parts) or "none"
