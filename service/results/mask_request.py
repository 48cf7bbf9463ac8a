"""What a client may ask to see: which blocks, which of their groups, in which form."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass

from service.errors import BadRequest
from service.model.resnet import BlockShape
from service.results.map_cost import MapCost, cost_of_maps
from service.results.query import MaskFormat, MaskKind


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
    named = {block for name in given for block in names[name]}
    return tuple(block.name for block in blocks if block.name in named)


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


def cost_of(request: MaskRequest, blocks: Sequence[BlockShape], side_px: int) -> MapCost:
    """Tell what a request's masks come to for each of its images.

    Args:
        request: the client's.
        blocks: the network's.
        side_px: S, of the pixels over which heat is laid.
    """
    shown = [block for block in blocks if block.name in request.blocks]
    return sum(
        (
            cost_of_maps(
                _maps_of(request.groups, block.groups),
                block.height * block.width,
                request.format,
                side_px,
            )
            for block in shown
        ),
        MapCost(0, 0),
    )


def _maps_of(choice: GroupChoice, groups: int) -> int:
    match choice:
        case AllGroups():
            return groups
        case MeanOfGroups():
            return 1
        case WidestGroups(count):
            return min(count, groups)
        case ListedGroups(ids):
            return len(ids)
