"""Requests of the protocol by chance: what fits is read as it is, whatever else is refused."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.api.v2.messages import parse_request
from service.api.v2.requests import InferRequest
from service.api.v2.tensors import TensorSpec, to_bytes
from service.errors import BadInput, BadRequest

PIXELS = TensorSpec("IMAGE", "UINT8", (3, 1, 2))
FILE = TensorSpec("IMAGE", "BYTES", (1,))
PROBS = TensorSpec("PROBS", "FP32", (3,))
MOST_IMAGES = 400  # so many pixels are cut out of the JSON before it is parsed
WORDS = (
    *("inputs", "outputs", "parameters", "id", "name", "datatype", "shape", "data", "IMAGE"),
    *("UINT8", "BYTES", "PROBS", "binary_data", "binary_data_size", "binary_data_output"),
    *("classification", "timeout", "priority"),
)

texts = st.sampled_from(WORDS) | st.text(max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


def parse(body: bytes, length: str | None, image: TensorSpec) -> InferRequest:
    """Read a request."""
    return parse_request(body, length, image, [PROBS], MOST_IMAGES)


@st.composite
def pixels(draw: st.DrawFn) -> NDArray[np.uint8]:
    """Pixels of some images, (B, 3, 1, 2) uint8."""
    batch = draw(st.integers(1, 3) | st.integers(250, MOST_IMAGES))
    seed = draw(st.integers(0, 2**32 - 1))
    return np.random.default_rng(seed).integers(0, 256, (batch, *PIXELS.dims), np.uint8)


def head_of(image: TensorSpec, shape: tuple[int, ...], **more: Any) -> dict[str, Any]:
    """An input as JSON announces it."""
    return {"name": image.name, "datatype": image.datatype, "shape": list(shape), **more}


@given(sent=pixels(), is_nested=st.booleans(), indent=st.sampled_from([None, 1]))
def test_pixels_in_json_are_read_as_they_were_sent(
    sent: NDArray[np.uint8],
    is_nested: bool,  # noqa: FBT001 - hypothesis gives it
    indent: int | None,
) -> None:
    """Nested or flat, in one line or many, cut out before parsing or not."""
    values = sent.tolist() if is_nested else sent.ravel().tolist()
    body = json.dumps({"inputs": [head_of(PIXELS, sent.shape, data=values)]}, indent=indent)

    request = parse(body.encode(), None, PIXELS)

    np.testing.assert_array_equal(request.images, sent, strict=True)


@given(sent=pixels())
def test_raw_pixels_are_read_as_they_were_sent(sent: NDArray[np.uint8]) -> None:
    """Behind the JSON that says how many bytes they are."""
    raw = to_bytes("UINT8", sent)
    size = {"binary_data_size": len(raw)}
    text = json.dumps({"inputs": [head_of(PIXELS, sent.shape, parameters=size)]}).encode()

    request = parse(text + raw, str(len(text)), PIXELS)

    np.testing.assert_array_equal(request.images, sent, strict=True)


@given(sent=st.lists(st.binary(max_size=2000), min_size=1, max_size=4))
def test_raw_files_are_read_as_they_were_sent(sent: list[bytes]) -> None:
    """Each with its length before it, however long."""
    files = np.empty((len(sent), 1), dtype=object)
    files[:, 0] = sent
    raw = to_bytes("BYTES", files)
    size = {"binary_data_size": len(raw)}
    text = json.dumps({"inputs": [head_of(FILE, files.shape, parameters=size)]}).encode()

    request = parse(text + raw, str(len(text)), FILE)

    assert request.images.ravel().tolist() == sent


@given(document=anything)
@example(document={"inputs": [head_of(PIXELS, (1, 3, 1, 2), data=[[[1]], 2])]})
@example(document={"inputs": [head_of(PIXELS, (1, 3, 1, 2), data=[{}] * 6)]})
@example(document={"inputs": [head_of(FILE, (1,), data=["\ud800"])]})
def test_json_that_is_no_request_is_refused(document: Any) -> None:
    """With an error that the client is told, and no other."""
    body = json.dumps(document).encode()

    with pytest.raises(BadRequest):
        parse(body, None, FILE)


@given(field=st.sampled_from([*WORDS[:8], "id"]), value=anything, is_inside=st.booleans())
def test_whatever_stands_in_a_field_ends_in_a_request_or_a_refusal(
    field: str,
    value: Any,
    is_inside: bool,  # noqa: FBT001 - hypothesis gives it
) -> None:
    """One value of a good request is replaced: at its top, or in its input."""
    image = head_of(PIXELS, (1, 3, 1, 2), data=[1, 2, 3, 4, 5, 6])
    top: dict[str, Any] = {"inputs": [image]}
    (image if is_inside else top)[field] = value

    with suppress(BadInput):
        request = parse(json.dumps(top).encode(), None, PIXELS)
        assert request.images.shape == (1, 3, 1, 2)


@given(body=st.binary(max_size=200), length=st.none() | st.text(max_size=13))
def test_any_bytes_end_in_a_request_or_a_refusal(body: bytes, length: str | None) -> None:
    """Whatever the header says of them."""
    with suppress(BadInput):
        assert parse(body, length, PIXELS).images.shape[1:] == PIXELS.dims
