"""The native API's answer as bytes, mask by mask: orjson holds the GIL for all of a call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from service.api.mask_document import mask_document
from service.results.masks import Mask
from service.serving.pipeline import Result


def encode_answer(
    head: Mapping[str, Any], results: Sequence[Result], tail: Mapping[str, Any]
) -> bytes:
    """Write an answer.

    Args:
        head: stands before the results, not empty.
        results: one an image.
        tail: stands behind them, not empty.
    """
    pieces = [_dumps(head)[:-1], b',"results":']
    pieces += _listed(_result(result) for result in results)
    pieces += [b",", _dumps(tail)[1:]]
    return b"".join(pieces)  # which lets go of the GIL where it takes long


def _result(result: Result) -> list[bytes]:
    predictions = _dumps({"predictions": result.predictions})
    if not result.masks:
        return [predictions]
    masks = _listed([_mask(mask)] for mask in result.masks)
    return [predictions[:-1], b',"masks":', *masks, b"}"]


def _mask(mask: Mask) -> bytes:
    return _dumps(mask_document(mask))


def _listed(values: Iterator[list[bytes]]) -> Iterator[bytes]:
    """The pieces of a JSON list whose values come in pieces."""
    yield b"["
    for number, pieces in enumerate(values):
        yield from [b","] if number else []
        yield from pieces
    yield b"]"


def _dumps(document: Mapping[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
