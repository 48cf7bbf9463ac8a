"""Tensors on the wire: raw bytes, lists in JSON, and everything that does not fit."""

from __future__ import annotations

import base64
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.json_cuts import CutJson
from service.api.v2.tensors import TensorSpec, from_bytes, from_json, to_bytes, to_json
from service.errors import BadRequest

PIXELS = TensorSpec("IMAGE", "UINT8", (3, 2, 2))
FILES = TensorSpec("IMAGE", "BYTES", (1,))
UNCUT = CutJson(b"")


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=5))
def test_files_survive_the_wire(files: list[bytes]) -> None:
    """Whatever bytes an element has, it comes back as it was, and so does its place."""
    elements = np.empty((len(files), 1), dtype=object)
    elements[:, 0] = files

    raw = to_bytes("BYTES", elements)

    back = from_bytes(FILES, elements.shape, memoryview(raw))
    assert back.shape == (len(files), 1)
    assert back.ravel().tolist() == files


def test_numbers_are_little_endian_and_row_major() -> None:
    """The bytes are those of the protocol, on any machine."""
    assert to_bytes("INT32", np.array([[1, 256]])) == b"\1\0\0\0\0\1\0\0"
    assert to_bytes("FP32", np.array([0.5])) == struct.pack("<f", 0.5)
    assert to_bytes("UINT8", np.array([[1, 2], [3, 4]])) == b"\1\2\3\4"
    values = from_bytes(PIXELS, (1, 3, 2, 2), memoryview(bytes(range(12))))
    assert values[0, 1].tolist() == [[4, 5], [6, 7]]


@pytest.mark.parametrize("is_flat", [True, False])
def test_lists_may_be_flat_or_nested(is_flat: bool) -> None:  # noqa: FBT001 - pytest's parameter
    """The protocol allows both."""
    pixels = np.arange(24).reshape(2, 3, 2, 2)
    data = pixels.ravel().tolist() if is_flat else pixels.tolist()

    assert np.array_equal(from_json(PIXELS, (2, 3, 2, 2), data, UNCUT), pixels)


def test_files_in_json_are_base64() -> None:
    """JSON holds no bytes."""
    data = [base64.b64encode(file).decode() for file in (b"\xff\0", b"")]

    assert from_json(FILES, (2, 1), data, UNCUT).ravel().tolist() == [b"\xff\0", b""]
    assert to_json("BYTES", np.array([[b"boot"]], dtype=object)) == ["boot"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (list(range(11)), "IMAGE has 11 values, its shape [1, 3, 2, 2] takes 12"),
        ([256] * 12, "IMAGE takes whole numbers from 0 to 255"),
        ([-1] * 12, "IMAGE takes whole numbers from 0 to 255"),
        ([2**70] * 12, "IMAGE takes whole numbers from 0 to 255"),
        ([0.5] * 12, "IMAGE takes whole numbers from 0 to 255"),
        ([True] * 12, "IMAGE takes whole numbers from 0 to 255"),
        (["1"] * 12, "IMAGE takes whole numbers from 0 to 255"),
        ([None] * 12, "IMAGE takes whole numbers from 0 to 255"),
        ([True, *[1] * 11], "IMAGE takes whole numbers from 0 to 255"),
        ([[1] * 11, 3], "IMAGE has 2 values, its shape [1, 3, 2, 2] takes 12"),
        (["x" * 10**5, *[""] * 40_000], "IMAGE has 40001 values, its shape [1, 3, 2, 2] takes 12"),
        (["x" * 10**5, *[""] * 11], "IMAGE takes whole numbers from 0 to 255"),
        ([], "IMAGE has 0 values, its shape [1, 3, 2, 2] takes 12"),
    ],
)
def test_lists_that_do_not_fit_are_refused(data: list[object], message: str) -> None:
    """The message says what was seen and what fits."""
    with pytest.raises(BadRequest) as refusal:
        from_json(PIXELS, (1, 3, 2, 2), data, UNCUT)

    assert refusal.value.message == message


@pytest.mark.parametrize("data", [["?"], [1], [None], [["YQ=="], "YQ=="], [{}], [["a", "b"]]])
def test_elements_that_are_not_base64_are_refused(data: list[object]) -> None:
    """Lists within lists and other kinds of values are among them."""
    with pytest.raises(BadRequest, match=r"^IMAGE"):
        from_json(FILES, (1, 1), data, UNCUT)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "IMAGE has 0 elements, its shape takes 1"),
        (b"\1\0\0", "IMAGE has 3 bytes after 0 elements"),
        (b"\2\0\0\0a", "element 0 of IMAGE is to have 2 bytes, 1 are left"),
        (b"\1\0\0\0a\0\0\0\0", "IMAGE has 4 bytes after 1 elements"),
        (b"\xff\xff\xff\xffa", "element 0 of IMAGE is to have 4294967295 bytes, 1 are left"),
    ],
)
def test_elements_that_do_not_add_up_are_refused(raw: bytes, message: str) -> None:
    """A length is never trusted."""
    with pytest.raises(BadRequest) as refusal:
        from_bytes(FILES, (1, 1), memoryview(raw))

    assert refusal.value.message == message


@given(st.binary(max_size=40), st.integers(1, 4))
def test_no_bytes_break_the_reading(raw: bytes, count: int) -> None:
    """Bytes are read whole or refused: what is read is written back the same."""
    try:
        elements = from_bytes(FILES, (count, 1), memoryview(raw))
    except BadRequest:
        return
    assert to_bytes("BYTES", elements) == raw


@pytest.mark.parametrize(
    ("spec", "datatype", "shape"),
    [
        (PIXELS, "FP32", [1, 3, 2, 2]),
        (PIXELS, "UINT8", [3, 2, 2]),
        (PIXELS, "UINT8", [1, 3, 2, 3]),
        (PIXELS, "UINT8", [0, 3, 2, 2]),
        (PIXELS, "UINT8", [-1, 3, 2, 2]),
        (FILES, "BYTES", [1, 2]),
        (FILES, "BYTES", [0]),
    ],
)
def test_other_tensors_are_refused(spec: TensorSpec, datatype: str, shape: list[int]) -> None:
    """By datatype or by shape."""
    with pytest.raises(BadRequest, match=r"^IMAGE is .*, the model takes "):
        spec.check(datatype, shape)


def test_a_row_of_files_needs_no_second_axis() -> None:
    """Clients send (B,) as well as (B, 1)."""
    assert FILES.check("BYTES", [3]) == FILES.check("BYTES", [3, 1]) == (3, 1)
