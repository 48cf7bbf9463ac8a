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

from service.model.foreign.names import as_torchvision, of_children
from service.model.foreign.safe_types import NumpyArray

DEPTH_LIMIT = 12  # of mappings in mappings; no training script nests half as deep
SETTINGS_DEPTH = 4  # so deep lie the settings of a network


def leaves_of(content: Mapping[Any, Any]) -> dict[str, Any]:
    """Everything that is no mapping, by its names joined with dots; each mapping counts once."""
    leaves = dict(_leaves(content, "", set(), DEPTH_LIMIT))
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
    level, seen = [("", content)], set[int]()
    for _ in range(SETTINGS_DEPTH):
        below = []
        for prefix, mapping in level:
            seen.add(id(mapping))
            for key, value in mapping.items():
                if key in names and value is not None:
                    yield f"{prefix}{key}", value.values if isinstance(value, NumpyArray) else value
                entries = as_mapping(value)
                if entries is not None and id(entries) not in seen:
                    below.append((f"{prefix}{key}.", entries))
        level = below


def kind_of(value: object) -> str:
    """Say what a leaf is: its value where that is short, else its type."""
    if isinstance(value, Tensor) and value.numel() == 1 and value.ndim == 0:
        value = value.item()
    if isinstance(value, str | int | float | bool) or value is None:
        text = str(value)
        return text if len(text) <= 40 and text.isprintable() else type(value).__name__
    return "array" if isinstance(value, NumpyArray) else type(value).__name__


def _leaves(
    content: Mapping[Any, Any], prefix: str, seen: set[int], depth: int
) -> Iterator[tuple[str, Any]]:
    seen.add(id(content))
    for key, value in content.items():
        name = f"{prefix}{key}"
        if not isinstance(value, Mapping) or depth == 0:
            yield as_torchvision(name), value.data if isinstance(value, nn.Parameter) else value
        elif id(value) not in seen:
            yield from _leaves(value, f"{name}.", seen, depth - 1)
