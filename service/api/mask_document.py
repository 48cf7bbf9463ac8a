"""A mask as documents of the native API, and of `sge-serve predict --json`, hold it."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.results.masks import Mask
from service.results.query import MaskFormat


def mask_document(mask: Mask, form: MaskFormat) -> dict[str, Any]:
    """Give the wire's form of a mask.

    Args:
        mask: of one block.
        form: as it was asked for.

    Returns:
        `block`, `kind`, `height`, `width`, `groups`, and

        - `json`: `data`, a (N, h, w) float32 array for orjson to write as nested lists;
        - `npy`: `data`, base64 of a .npy file with that array;
        - `png`, `overlay`: `images`, base64 of N PNG files.
    """
    _, height, width = mask.numbers.shape
    head = {"block": mask.block, "kind": mask.kind, "height": height, "width": width}
    return {**head, "groups": mask.groups, **_content(mask, form)}


def _content(mask: Mask, form: MaskFormat) -> dict[str, Any]:
    match form:
        case "json":
            return {"data": mask.numbers}
        case "npy":
            return {"data": _text(_npy(mask.numbers))}
        case _:
            return {"images": [_text(picture) for picture in mask.pictures]}


def _npy(numbers: NDArray[np.float32]) -> bytes:
    file = io.BytesIO()
    np.save(file, numbers, allow_pickle=False)
    return file.getvalue()


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
