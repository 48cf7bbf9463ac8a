"""Similarities and gates -> the masks that the client asked for.

G: groups of a block, N: groups asked for, h and w: height and width of a mask, H and W: of the
model's pixels.
"""

from __future__ import annotations

import base64
import io
import re
import reprlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.errors import BadRequest
from service.model.resnet import BlockShape
from service.results.heat_map import draw_grey, draw_overlays
from service.results.query import MaskFormat, MaskKind

_SIMILARITY_SPAN = 3.0  # standard deviations on either side of the mean that a PNG can show


@dataclass(frozen=True, slots=True)
class AllGroups:
    """Every group, in order."""


@dataclass(frozen=True, slots=True)
class MeanOfGroups:
    """One mask: the mean over the groups at each position."""


@dataclass(frozen=True, slots=True)
class WidestGroups:
    """The `count` groups whose gates spread most over the positions, widest first."""

    count: int


@dataclass(frozen=True, slots=True)
class ListedGroups:
    """These groups, in this order."""

    ids: tuple[int, ...]


GroupChoice = AllGroups | MeanOfGroups | WidestGroups | ListedGroups


@dataclass(frozen=True, slots=True)
class MaskRequest:
    """What a client asked to see.

    Attributes:
        blocks: names in the network's order; empty for no masks.
        groups: which groups of each block.
        kind: `gate`, in (0, 1), or `similarity`, of mean 0 and standard deviation 1.
        format: numbers or pictures, see `draw_mask`.
    """

    blocks: tuple[str, ...]
    groups: GroupChoice
    kind: MaskKind
    format: MaskFormat


@dataclass(frozen=True, slots=True, eq=False)
class Gate:
    """How a block turns similarity into gates: gamma and beta, each (G,) float32."""

    gamma: NDArray[np.float32]
    beta: NDArray[np.float32]

    def gates(self, similarity: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give sigmoid(gamma * n + beta) of a similarity n (G, h, w): same shape, float32."""
        logits = self.gamma[:, None, None] * similarity + self.beta[:, None, None]
        inverse: NDArray[np.float32] = 1 + np.exp(-logits.clip(-80, 80))  # exp(89) is infinite
        return np.reciprocal(inverse)


def parse_blocks(text: str, blocks: Sequence[BlockShape]) -> tuple[str, ...]:
    """Resolve a comma list of `last`, `stage1` to `stage4`, names of blocks, and `all`.

    Args:
        text: the client's; empty for no masks.
        blocks: the network's, in its order.

    Returns:
        Names of blocks in the network's order, each once.

    Raises:
        BadRequest: a name that none of the blocks goes by.
    """
    names = _names_of(blocks)
    given = [name.strip() for name in text.split(",")] if text.strip() else []
    for name in given:
        if name not in names:
            raise BadRequest(f"no block {reprlib.repr(name)}, there are: {', '.join(names)}")
    wanted = {block for name in given for block in names[name]}
    return tuple(block.name for block in blocks if block.name in wanted)


def _names_of(blocks: Sequence[BlockShape]) -> dict[str, list[str]]:
    """Every name that a client may give, and the blocks it stands for."""
    stages = {
        block.name.partition(".")[0].replace("layer", "stage"): [block.name] for block in blocks
    }  # later blocks of a stage replace earlier ones
    every = [block.name for block in blocks]
    return {"last": every[-1:], **stages, "all": every, **{name: [name] for name in every}}


def parse_groups(text: str, groups: int) -> GroupChoice:
    """Read `all`, `mean`, `top:N` or a comma list of group numbers.

    Args:
        text: the client's.
        groups: G; `top:N` with a larger N gives all, widest first.

    Raises:
        BadRequest: none of these, or a number twice or out of range.
    """
    text = text.strip()
    if text == "all":
        return AllGroups()
    if text == "mean":
        return MeanOfGroups()
    if match := re.fullmatch(r"top:([1-9][0-9]{0,5})", text):
        return WidestGroups(int(match[1]))
    return ListedGroups(_parse_ids(text, groups))


def _parse_ids(text: str, groups: int) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    for part in parts:
        if not re.fullmatch(r"[0-9]+", part):
            raise BadRequest(
                f"groups is {reprlib.repr(text)}, it must be all, mean, top:N or numbers from "
                f"0 to {groups - 1} such as 0,3,5"
            )
        if len(part) > 6 or int(part) >= groups:  # the interpreter refuses very long numbers
            raise BadRequest(f"group is {reprlib.repr(part)}, the groups are 0 to {groups - 1}")
    ids = tuple(int(part) for part in parts)
    if len(set(ids)) < len(ids):
        raise BadRequest(
            f"groups is {reprlib.repr(text)}, each of 0 to {groups - 1} may be there once"
        )
    return ids


def count_pictures(request: MaskRequest, groups: int) -> int:
    """How many PNGs a request makes of one image; none where it asks for numbers.

    Args:
        request: the client's.
        groups: G.
    """
    if request.format in ("json", "npy"):
        return 0
    match request.groups:
        case AllGroups():
            per_block = groups
        case MeanOfGroups():
            per_block = 1
        case WidestGroups(count):
            per_block = min(count, groups)
        case ListedGroups(ids):
            per_block = len(ids)
    return per_block * len(request.blocks)


def draw_mask(
    block: str,
    similarity: NDArray[np.float32],
    gate: Gate,
    request: MaskRequest,
    pixels: NDArray[np.uint8],
) -> dict[str, object]:
    """Make the reply's entry for one block of one image.

    Args:
        block: its name.
        similarity: (G, h, w) float32, the block's for this image.
        gate: the block's.
        request: which groups, in which form; its blocks are not looked at.
        pixels: (3, H, W) uint8, RGB, the image as the model saw it.

    Returns:
        `block`, `kind`, `height` h, `width` w, `groups` (N numbers, or "mean" with N = 1), and

        - `json`: `data`, a contiguous (N, h, w) float32 array for orjson to write as nested lists;
        - `npy`: `data`, base64 of a .npy file with that array;
        - `png`: `images`, base64 of N greyscale PNGs, w x h px, on a fixed scale, so that pictures
          compare: gates 0 to 1, similarities -3 to 3 are black to white;
        - `overlay`: `images`, base64 of N RGB PNGs, W x H px: a heat map over the pixels, each
          stretched over its own range.
    """
    gates = gate.gates(similarity)
    shown = gates if request.kind == "gate" else similarity
    ids = _choose(request.groups, gates)
    is_mean = isinstance(request.groups, MeanOfGroups)
    masks = shown.mean(axis=0, keepdims=True) if is_mean else shown[ids]  # (N, h, w)
    return {
        "block": block,
        "kind": request.kind,
        "height": similarity.shape[1],
        "width": similarity.shape[2],
        "groups": "mean" if is_mean else ids,
        **_render(masks, request, pixels),
    }


def _choose(choice: GroupChoice, gates: NDArray[np.float32]) -> list[int]:
    match choice:
        case ListedGroups(ids):
            return list(ids)
        case WidestGroups(count):
            spread = gates.std(axis=(1, 2), dtype=np.float64)  # exactly 0 where a gate is constant
            return [int(group) for group in np.argsort(-spread, kind="stable")[:count]]
        case _:
            return list(range(len(gates)))


def _render(
    masks: NDArray[np.float32], request: MaskRequest, pixels: NDArray[np.uint8]
) -> dict[str, object]:
    match request.format:
        case "json":
            return {"data": np.ascontiguousarray(masks)}
        case "npy":
            return {"data": _to_npy(masks)}
        case "png":
            return {"images": _to_base64(draw_grey(_to_levels(masks, request.kind)))}
        case "overlay":
            return {"images": _to_base64(draw_overlays(masks, pixels))}


def _to_levels(masks: NDArray[np.float32], kind: MaskKind) -> NDArray[np.float32]:
    return masks if kind == "gate" else masks / np.float32(2 * _SIMILARITY_SPAN) + np.float32(0.5)


def _to_npy(masks: NDArray[np.float32]) -> str:
    file = io.BytesIO()
    np.save(file, masks, allow_pickle=False)
    return base64.b64encode(file.getvalue()).decode("ascii")


def _to_base64(files: Iterable[bytes]) -> list[str]:
    return [base64.b64encode(file).decode("ascii") for file in files]
