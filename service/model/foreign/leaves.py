"""What a checkpoint holds -> its leaves by name: a wrapping is a prefix as any other.

`{"ema": {"module": {"fc.bias": b}}}` and `{"ema.module.fc.bias": b}` have the same leaf,
`ema.module.fc.bias`. The names are torchvision's where a file follows transformers' ResNet.
"""

from __future__ import annotations

import argparse
import re
import types
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from service.model.foreign.safe_types import NumpyArray

DEPTH_LIMIT = 12  # of mappings in mappings; no training script nests half as deep
SETTINGS_DEPTH = 4  # so deep lie the settings of a network

_TRANSFORMERS = [
    (re.compile(rf"(^|\.)(?:resnet\.)?{theirs}\."), rf"\g<1>{ours}.")
    for theirs, ours in (
        (r"embedder\.embedder\.convolution", "conv1"),
        (r"embedder\.embedder\.normalization", "bn1"),
    )
]
_STAGE = re.compile(r"(^|\.)(?:resnet\.)?encoder\.stages\.(\d+)\.layers\.(\d+)\.")
_LAYER = re.compile(r"(layer\d+\.\d+\.)layer\.(\d+)\.(convolution|normalization)\.")
_SHORTCUT = re.compile(r"(layer\d+\.\d+\.)shortcut\.(convolution|normalization)\.")


def leaves_of(content: Mapping[Any, Any]) -> dict[str, Any]:
    """Everything that is no mapping, by its names joined with dots; each mapping counts once."""
    return dict(_leaves(content, "", set(), DEPTH_LIMIT))


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
            yield _as_torchvision(name), value.data if isinstance(value, nn.Parameter) else value
        elif id(value) not in seen:
            yield from _leaves(value, f"{name}.", seen, depth - 1)


def _as_torchvision(name: str) -> str:
    for theirs, ours in _TRANSFORMERS:
        name = theirs.sub(ours, name)
    name = _STAGE.sub(lambda m: f"{m[1]}layer{int(m[2]) + 1}.{m[3]}.", name)
    name = _LAYER.sub(
        lambda m: f"{m[1]}{'conv' if m[3] == 'convolution' else 'bn'}{int(m[2]) + 1}.", name
    )
    return _SHORTCUT.sub(lambda m: f"{m[1]}downsample.{0 if m[2] == 'convolution' else 1}.", name)
