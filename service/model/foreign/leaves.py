"""What a checkpoint holds -> its leaves by name: a wrapping is a prefix as any other.

`{"ema": {"module": {"fc.bias": b}}}` and `{"ema.module.fc.bias": b}` have the same leaf,
`ema.module.fc.bias`. Names that others have for the layers of a ResNet become torchvision's.
"""

from __future__ import annotations

import argparse
import types
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from service.errors import BadCheckpoint
from service.model.foreign.names import as_torchvision, of_children
from service.model.foreign.parts import has_item
from service.model.foreign.safe_types import NumpyArray

LEAVES_LIMIT = 200_000  # a training script's state has hundreds
NAME_LIMIT = 1000  # characters of a path; every name is searched for many patterns
DEPTH_LIMIT = 12  # of mappings in mappings; no training script nests half as deep
LONGEST_INTEGER_BITS = 128  # of those shown
SETTINGS_DEPTH = 4  # so deep lie the settings of a network


def leaves_of(content: Mapping[Any, Any]) -> dict[str, Any]:
    """Everything that is no mapping, by its names joined with dots; each mapping counts once.

    Raises:
        BadCheckpoint: there are more than anybody saves, one's name is longer than anybody's, or
            one is a nested tensor.
    """
    leaves: dict[str, Any] = {}
    for count, (name, value) in enumerate(_leaves(content, "", {id(content)}, DEPTH_LIMIT)):
        if count >= LEAVES_LIMIT:
            raise BadCheckpoint(f"more than {LEAVES_LIMIT} values in one file")
        if len(name) > NAME_LIMIT:
            raise BadCheckpoint(f"a name of more than {NAME_LIMIT} characters, {name[:40]!r} ...")
        if isinstance(value, Tensor) and value.is_nested:  # asked for its shape, torch fails
            raise BadCheckpoint(f"{name} is a nested tensor, and no network here has one")
        leaves[as_torchvision(name)] = value
    renamed = of_children(leaves)
    return {renamed.get(name, name): value for name, value in leaves.items()}


def as_mapping(value: object) -> Mapping[Any, Any] | None:
    """The entries of a mapping or a namespace, None of anything else."""
    if isinstance(value, argparse.Namespace | types.SimpleNamespace):
        return vars(value)
    return value if isinstance(value, Mapping) else None


def entries_named(content: Mapping[Any, Any], names: Collection[str]) -> Iterator[tuple[str, Any]]:
    """The entries of these names, with their paths, those nearest to the top first.

    Namespaces count as mappings here, and an array as a list.
    """
    level, seen = [("", content)], {id(content)}
    for _ in range(SETTINGS_DEPTH):
        below = []
        for prefix, mapping in level:
            for key, value in mapping.items():
                name = f"{prefix}{_name_of(key)}"
                if isinstance(key, str) and key in names and value is not None:
                    yield name, value.values if isinstance(value, NumpyArray) else value
                entries = as_mapping(value)
                if entries is not None and id(entries) not in seen:
                    seen.add(id(entries))
                    below.append((f"{name}.", entries))
        level = below


def kind_of(value: object) -> str:
    """Say what a leaf is: its value where that is short, else its type."""
    if isinstance(value, Tensor) and value.ndim == 0 and has_item(value):
        value = value.item()
    is_long = isinstance(value, int) and value.bit_length() > LONGEST_INTEGER_BITS
    if (isinstance(value, str | int | float | bool) and not is_long) or value is None:
        text = str(value)
        return text if len(text) <= 40 and text.isprintable() else type(value).__name__
    return "array" if isinstance(value, NumpyArray) else type(value).__name__


def _leaves(
    content: Mapping[Any, Any], prefix: str, seen: set[int], depth: int
) -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        name = f"{prefix}{_name_of(key)}"
        if not isinstance(value, Mapping) or depth == 0:
            yield name, value.data if isinstance(value, nn.Parameter) else value
        elif id(value) not in seen:
            seen.add(id(value))
            yield from _leaves(value, f"{name}.", seen, depth - 1)


def _name_of(key: object) -> str:
    """A key in a path; one that is no text or number may be of any length."""
    return key[: NAME_LIMIT + 1] if isinstance(key, str) else kind_of(key)
