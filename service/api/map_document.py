"""Maps as documents of the native API, and of `sge-serve predict --json`, hold them."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from service.results.attribution import Attribution
from service.results.masks import Mask


def mask_document(mask: Mask) -> dict[str, Any]:
    """Give the wire's form of a mask.

    Returns:
        `block`, `kind`, `height`, `width`, `groups`, and

        - `json`: `data`, nested lists (N, h, w), written already;
        - `npy`: `data`, base64 of a .npy file with that array;
        - `png`, `overlay`: `images`, base64 of N PNG files.
    """
    _, height, width = mask.numbers.shape
    head = {"block": mask.block, "kind": mask.kind, "height": height, "width": width}
    return {**head, "groups": mask.groups, **_content(mask)}


def attribution_document(attribution: Attribution) -> dict[str, Any]:
    """Give the wire's form of an attribution: `height`, `width`, `classes`, and as `mask_document`.

    The maps of `data` and `images` are in the order of `classes`.
    """
    _, height, width = attribution.numbers.shape
    head = {"height": height, "width": width, "classes": attribution.classes}
    return {**head, **_content(attribution)}


def base64_of(content: bytes) -> str:
    """Give the wire's form of a file."""
    return base64.b64encode(content).decode("ascii")


def _content(maps: Mask | Attribution) -> dict[str, Any]:
    match maps.form:
        case "json":
            return {"data": _nested_lists(maps.numbers)}
        case "npy":
            return {"data": base64_of(_npy(maps.numbers))}
        case _:
            return {"images": [base64_of(picture) for picture in maps.pictures]}


def _nested_lists(numbers: NDArray[np.float32]) -> orjson.Fragment:
    """Write numbers group by group: orjson holds the GIL, and masks may be megabytes."""
    groups = [orjson.dumps(group, option=orjson.OPT_SERIALIZE_NUMPY) for group in numbers]
    return orjson.Fragment(b"[" + b",".join(groups) + b"]")


def _npy(numbers: NDArray[np.float32]) -> bytes:
    file = io.BytesIO()
    np.save(file, numbers, allow_pickle=False)
    return file.getvalue()
