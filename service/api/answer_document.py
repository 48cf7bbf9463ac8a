"""The native API's answer as bytes, map by map: orjson holds the GIL for all of a call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from service.api.map_document import attribution_document, base64_of, mask_document
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


def has_drawn(result: Result) -> bool:
    """Whether a result holds more than predictions."""
    return bool(result.masks) or result.attribution is not None or result.input is not None


def _result(result: Result) -> list[bytes]:
    pieces = [_dumps({"predictions": result.predictions})[:-1]]
    if result.masks:
        pieces += [b',"masks":', *_listed([_dumps(mask_document(mask))] for mask in result.masks)]
    if result.attribution is not None:
        pieces += [b',"attribution":', _dumps(attribution_document(result.attribution))]
    if result.input is not None:
        pieces += [b',"input":', orjson.dumps(base64_of(result.input))]
    return [*pieces, b"}"]


def _listed(values: Iterator[list[bytes]]) -> Iterator[bytes]:
    """The pieces of a JSON list whose values come in pieces."""
    yield b"["
    for number, pieces in enumerate(values):
        yield from [b","] if number else []
        yield from pieces
    yield b"]"


def _dumps(document: Mapping[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
