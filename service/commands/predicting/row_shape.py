"""What rows of JSON have beside their names: how many classes, which maps, in which form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.results.query import MaskFormat
from service.serving.options import Options

Shape = frozenset[str]


def shape_asked(options: Options, classes: int, *, has_maps: bool) -> Shape:
    """The shape of what options ask for.

    Args:
        options: of the command.
        classes: of the model.
        has_maps: whether maps and pictures are in the rows, and nowhere else.
    """
    shape = {f"{min(options.top_k, classes)} classes"}
    if has_maps:
        shape |= {"masks"} | ({"input"} if options.shows_input else set())
        masks = options.masks
        shape |= {f"{block}: {masks.kind}, {_form(masks.format)}" for block in masks.blocks}
        if options.attribution is not None:
            shape.add(f"attribution: {_form(options.attribution.format)}")
    return frozenset(shape)


def shape_of(document: Mapping[str, Any]) -> Shape:
    """The shape of a row without an error.

    Raises:
        KeyError: it lacks what every row has.
        TypeError: it has other things there.
    """
    shape = {f"{len(document['predictions'])} classes"}
    shape |= document.keys() & {"masks", "input"}
    for mask in document.get("masks", ()):
        shape.add(f"{mask['block']}: {mask['kind']}, {_form_of(mask)}")
    if "attribution" in document:
        shape.add(f"attribution: {_form_of(document['attribution'])}")
    return frozenset(shape)


def _form(asked: MaskFormat) -> str:
    return asked if asked in ("json", "npy") else "images"


def _form_of(maps: Mapping[str, Any]) -> str:
    if "images" in maps:
        return "images"
    return "npy" if isinstance(maps["data"], str) else "json"
