"""The last layer of a network under whatever name its author gave it -> `fc`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from service.errors import BadCheckpoint
from service.model.foreign.parts import beyond, group_of, is_of_training, words_of

_HEADS = {"fc", "head", "heads", "classifier", "linear", "logits", "cls", "output", "final"}
_AUXILIARY = {
    *("aux", "auxiliary", "projector", "projection", "proj", "predictor", "prototypes", "queue"),
    *("criterion", "loss", "metric", "metrics", "acc", "accuracy", "ema", "swa", "n"),
}


@dataclass(frozen=True, slots=True)
class Head:
    """A last layer.

    Attributes:
        tensors: `fc.weight` and `fc.bias`.
        paths: the leaves that they were.
        around: the prefix, with its dot, of the module that holds it.
        notes: what a person should know of how it was found.
    """

    tensors: dict[str, Any]
    paths: frozenset[str]
    around: str
    notes: tuple[str, ...]


NO_HEAD = Head({}, frozenset(), "", ())


def is_auxiliary(name: str) -> bool:
    """Whether a name is that of something that only training needs."""
    return bool(words_of(name) & _AUXILIARY) or is_of_training(name)


def find_head(tensors: Mapping[str, Tensor], prefix: str, file_name: str) -> Head:
    """Find the last layer among tensors that belong to no residual network.

    Args:
        tensors: by their whole names; those of optimisers among them do not matter.
        prefix: of the residual network. The layer is looked for below it, then around it.
        file_name: for the messages.

    Raises:
        BadCheckpoint: there are several, or one of several layers.
    """
    for around in _outwards(prefix):
        modules = _head_modules(tensors, around)
        if len(modules) > 1:
            raise BadCheckpoint(
                f"{file_name} has several heads ({', '.join(modules)}); save the network with the "
                "one that is to be served"
            )
        for module in modules:
            return _single_layer(tensors, module, around, file_name)
    return NO_HEAD


def _outwards(prefix: str) -> Iterator[str]:
    """A prefix, that around it, and so on up to none."""
    steps = prefix.split(".") if prefix else []
    for count in range(len(steps), -1, -1):
        yield "".join(f"{step}." for step in steps[:count])


def _head_modules(tensors: Mapping[str, Tensor], around: str) -> list[str]:
    """The modules right below a prefix whose name is that of a head and that hold a matrix."""
    modules = (
        around + path[len(around) :].partition(".")[0]
        for path, value in tensors.items()
        if path.startswith(around) and value.ndim == 2 and not is_auxiliary(path[len(around) :])
    )
    return [name for name in dict.fromkeys(modules) if words_of(name[len(around) :]) & _HEADS]


def _single_layer(tensors: Mapping[str, Tensor], module: str, around: str, file_name: str) -> Head:
    entries = {path: value for path, value in tensors.items() if path.startswith(f"{module}.")}
    weights = [path for path, value in entries.items() if value.ndim == 2]
    bias = f"{weights[0].rpartition('.')[0]}.bias"
    if set(entries) - {weights[0], bias}:
        raise BadCheckpoint(
            f"{file_name} ends in more than one linear layer ({', '.join(entries)}), and networks "
            "that end in one are served"
        )
    found = {"fc.weight": entries[weights[0]]}
    found |= {"fc.bias": entries[bias]} if bias in entries else {}
    note = f"the last layer is {weights[0].rpartition('.')[0]}"
    return Head(found, frozenset(entries), around, (note,))


def missing_bias(weights: Mapping[str, Any]) -> dict[str, Tensor]:
    """Zeros for a last layer without bias, which is the same function; nothing for another one."""
    weight = weights.get("fc.weight")
    if "fc.bias" in weights or not isinstance(weight, Tensor) or weight.ndim != 2:
        return {}
    return {"fc.bias": torch.zeros(weight.shape[:1], dtype=torch.float32)}


def refuse_further_layers(
    beside: Mapping[str, Tensor], weight: object, prefix: str, file_name: str
) -> None:
    """Refuse what may be a layer before or after the last one, and would change the function.

    A projection is one of training alone in some networks, and part of the function in others;
    what takes as many numbers as there are classes may come after them.

    Args:
        beside: tensors that belong to no residual network, but for the last layer.
        weight: of the last layer.
        prefix: of the residual network.
        file_name: for the messages.

    Raises:
        BadCheckpoint: names them, and the flag that leaves them out.
    """
    classes = weight.shape[0] if isinstance(weight, Tensor) and weight.ndim else None
    names = [
        path
        for path, value in beside.items()
        if value.is_floating_point()
        and not is_of_training(path)
        and (
            _is_projection(name := ".".join(beyond(path, prefix)), value)
            or _takes(classes, name, value)
        )
    ]
    if names:
        raise BadCheckpoint(
            f"{file_name} has {', '.join(names[:5])} beside the last layer, which may be part of "
            f"the network; where it is of training alone: --leave-out {group_of(names[0], prefix)}"
        )


def _is_projection(name: str, value: Tensor) -> bool:
    return value.ndim > 0 and any(
        word.startswith("proj") or word == "predictor" for word in words_of(name)
    )


def _takes(classes: int | None, name: str, value: Tensor) -> bool:
    return (
        value.ndim == 2
        and value.shape[1] == classes
        and bool(words_of(name) & _HEADS)
        and not is_auxiliary(name)
    )
