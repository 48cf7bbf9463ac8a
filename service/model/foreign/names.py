"""Names that others have for the layers of a ResNet -> torchvision's."""

from __future__ import annotations

import re
from collections.abc import Iterable

# transformers' ResNet.
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

# The children of torchvision's ResNet by their numbers, as `nn.Sequential(*net.children())` has it.
_CHILDREN = {
    "0": "conv1",
    "1": "bn1",
    **{str(number): f"layer{number - 3}" for number in range(4, 8)},
    "9": "fc",
}
_CHILD = re.compile(rf"({'|'.join(_CHILDREN)})\.")
STARTS_LIMIT = 32  # every name is compared with each
_FIRST_BLOCK = "4.0.conv1.weight"


def as_torchvision(name: str) -> str:
    """The name of a leaf that follows transformers; any other one as it is."""
    for theirs, ours in _TRANSFORMERS:
        name = theirs.sub(ours, name)
    name = _STAGE.sub(lambda found: f"{found[1]}layer{int(found[2]) + 1}.{found[3]}.", name)
    name = _LAYER.sub(_layer, name)
    return _SHORTCUT.sub(
        lambda found: f"{found[1]}downsample.{0 if found[2] == 'convolution' else 1}.", name
    )


def _layer(found: re.Match[str]) -> str:
    kind = "conv" if found[3] == "convolution" else "bn"
    return f"{found[1]}{kind}{int(found[2]) + 1}."


def of_children(names: Iterable[str]) -> dict[str, str]:
    """New names of the leaves of networks whose children were put into a Sequential."""
    known = {*names}
    starts = [name.removesuffix(_FIRST_BLOCK) for name in known if name.endswith(_FIRST_BLOCK)]
    starts = [start for start in starts if not start or start.endswith(".")][:STARTS_LIMIT]
    return {
        name: f"{start}{_CHILDREN[found[1]]}{name[len(start) + 1 :]}"
        for start in starts
        if {f"{start}0.weight", f"{start}7.0.conv1.weight"} <= known
        for name in known
        if name.startswith(start) and (found := _CHILD.match(name, len(start)))
    }
