"""JSON bodies of any size: what reaches the parser is small, and what was cut out is exact."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from service.api.json_cuts import LONG_BYTES, ROOM_BYTES, STEP_BYTES, CutJson, cut_json
from service.errors import BadRequest

BULK = 4_000_000  # bytes, far beyond what may reach the parser
IMAGES = 2
PIXELS = list(range(256)) * 1000


class Body(BaseModel):
    """Whatever it may be."""

    a: Any = None
    b: Any = None


def cut(body: bytes) -> CutJson:
    """Cut a whole body, of at most two images."""
    return cut_json(body, len(body), IMAGES, limit_values=BULK)


def numbers_of(text: bytes, step_bytes: int) -> list[Any]:
    """Read a list that was cut out, in small steps."""
    steps = CutJson(b"", {"~": memoryview(text)}, step_bytes).read_numbers(["~"])
    assert steps is not None
    return [value for step in steps for value in step]


HOSTILE = {
    "numbers in place of images": b'{"images":[' + b"0," * (BULK // 2) + b"0]}",
    "lists within lists": b"[" * BULK,
    "objects within objects": b'{"a":' * (BULK // 5),
    "objects without texts": b'{"a":[' + b"{}," * (BULK // 3) + b"{}]}",
    "keys": b"{" + b'"a":1,' * (BULK // 6) + b'"a":1}',
    "texts": b'{"a":[' + b'"",' * (BULK // 3) + b'""]}',
    "escaped quotes": b'{"a":"' + b'\\"' * (BULK // 2) + b'"}',
    "backslashes": b'{"a":"' + b"\\" * BULK + b'"}',
    "spaces": b" " * BULK + b"{}",
    "a long number": b'{"a":' + b"9" * BULK + b"}",
    "a text without end": b'{"a":"' + b"x" * BULK,
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_body_that_is_all_structure_is_refused_before_it_is_parsed(body: bytes) -> None:
    """Whatever there is too much of, nothing is built of it."""
    with pytest.raises(BadRequest) as refusal:
        cut_json(body, len(body), IMAGES, limit_values=1000)

    assert len(refusal.value.message) < 200


BULKY = {
    "text": b'{"a":"' + b"x" * BULK + b'"}',
    "key": b'{"' + b"x" * BULK + b'":1}',
    "wide text": b'{"a":"' + b"x" * BULK + b'\\ud83d\\ude00"}',
    "numbers": b'{"a":[' + b"0," * (BULK // 2) + b'0],"b":1}',
    "lists": b'{"a":[[' + b"[0]," * (BULK // 4) + b"[0]]]}",
}


@pytest.mark.parametrize("body", BULKY.values(), ids=BULKY.keys())
def test_the_bulk_never_reaches_the_parser(body: bytes) -> None:
    """What is left of megabytes is short, whatever its place, and refused where it is not read."""
    left = cut(body)

    assert len(left.head) < 100
    with pytest.raises(BadRequest, match=r"^\d{7} bytes stand where so many do not belong: "):
        left.require_all_read()


def test_a_small_body_stays_whole() -> None:
    """Nothing is cut out of it; it may be indented as people like it."""
    body = json.dumps({"a": ["x" * 1000, {"b": [1, 2.5, None]}], "b": 'q"\\'}, indent=4).encode()

    left = cut(body)

    assert (left.head, left.cuts) == (body, {})
    assert left.parse(Body).b == 'q"\\'


@pytest.mark.parametrize("indent", [None, 1])
def test_what_is_cut_out_comes_back(indent: int | None) -> None:
    """Texts by their marks and numbers in their order, wherever they stand in the body."""
    file = bytes(range(256)) * 1000
    text = base64.encodebytes(file).decode()
    rows = [[PIXELS[at : at + 16] for at in range(0, len(PIXELS), 16)]]
    body = json.dumps({"b": text, "a": rows}, indent=indent).encode()

    left = cut(body)
    parsed = left.parse(Body)
    steps = list(left.read_numbers(parsed.a) or ())

    assert left.read_base64(parsed.b) == file
    assert [value for step in steps for value in step] == PIXELS
    assert max(map(len, steps)) <= STEP_BYTES
    left.require_all_read()


def test_texts_may_be_escaped() -> None:
    """As some writers of JSON do with slashes and pluses."""
    text = ("+/" * LONG_BYTES).replace("+", "\\u002B").replace("/", "\\/")
    left = cut(b'{"a":"' + text.encode() + b'"}')
    left.step_bytes = 7

    assert left.read_base64(left.parse(Body).a) == base64.b64decode("+/" * LONG_BYTES)


@pytest.mark.parametrize("sent", ["\\ud83d\\ude00", "\u00e9", "\\x", "\n", "\\"])
def test_texts_that_are_not_ascii_or_not_json_are_no_base64(sent: str) -> None:
    """Long or short: a text that is cut out is held to the rules of JSON, too."""
    left = CutJson(b"", {"~": memoryview(f'"{"AAAA" * 3}{sent}AAAA"'.encode())})

    with pytest.raises(ValueError):  # noqa: PT011 - of three libraries
        left.read_base64("~\n" if sent == "\n" else "~")


SPACES = " " * LONG_BYTES


@pytest.mark.parametrize("text", ["1", "[1]", "null", "{}", "AAAA"])
def test_a_long_text_is_no_list(text: str) -> None:
    """Not even one that holds JSON: as an image's only value it is of another type."""
    left = cut(json.dumps({"a": [text + SPACES]}).encode())

    assert left.read_numbers(left.parse(Body).a) is None
    with pytest.raises(BadRequest, match="bytes stand where so many do not belong"):
        left.require_all_read()


def test_a_long_list_is_no_text() -> None:
    """In place of a file it is no base64."""
    left = cut(b'{"a":[' + b"0," * LONG_BYTES + b"0]}")
    (mark,) = left.parse(Body).a

    with pytest.raises(ValueError, match="it is a list"):
        left.read_base64(mark)


def nested(depth: int) -> st.SearchStrategy[list[Any]]:
    """Lists of lists, as deep everywhere."""
    inner: st.SearchStrategy[Any] = nested(depth - 1) if depth else st.integers(0, 255)
    return st.lists(inner, min_size=1, max_size=5)


values = st.integers(0, 3).flatmap(nested)


@given(values, st.sampled_from([None, 1]), st.integers(30, 60))
def test_steps_make_no_difference(values: list[Any], indent: int | None, step: int) -> None:
    """A list has the numbers that it would have as a whole."""
    read = numbers_of(json.dumps(values, indent=indent).encode(), step)

    assert read == leaves_of(values)


@given(values, st.integers(0, 200), st.sampled_from(list('[],1 x-."')))
def test_what_is_no_json_as_a_whole_is_refused(values: list[Any], place: int, sent: str) -> None:
    """Where a parser of JSON reads a list with a character replaced, it is the same, or refused."""
    whole = json.dumps(values)
    place = 1 + place % (len(whole) - 1)  # what is cut begins with a bracket
    text = whole[:place] + sent + whole[place + 1 :]

    read = numbers_or_none(text)

    assert read is None or leaves_of(read) == leaves_of(json.loads(text))


def numbers_or_none(text: str) -> list[Any] | None:
    """The numbers of a text, if they are not refused."""
    try:
        return numbers_of(text.encode(), 30)
    except BadRequest:
        return None


def leaves_of(values: list[Any]) -> list[Any]:
    """The values of lists that need not be as deep everywhere."""
    deeper = [leaves_of(value) if isinstance(value, list) else [value] for value in values]
    return [leaf for leaves in deeper for leaf in leaves]


@pytest.mark.parametrize(
    "text",
    [
        b"[1,2",
        b"[[1,2]",
        b"[1,2]]",
        b"[" + b" " * 100 + b",1]",
        b"[[1],[" + b" " * 10 + b",2" + b" " * 40 + b"]]",
        b"[1," + b" " * 40 + b"]",
    ],
)
def test_lists_that_do_not_hold_together_are_refused(text: bytes) -> None:
    """Brackets are counted over all steps; a value is never looked for without end."""
    with pytest.raises(BadRequest, match=r"^body: "):
        numbers_of(text, 40)


def test_what_is_left_grows_with_the_images_of_a_request() -> None:
    """Short texts stay where they are: as many as a request may have images fit."""
    body = json.dumps({"a": ["x" * (LONG_BYTES - 2)] * 100}).encode()

    assert len(cut_json(body, len(body), 100, limit_values=1000).head) > ROOM_BYTES
    with pytest.raises(BadRequest, match=f"more than {ROOM_BYTES + LONG_BYTES} bytes beside"):
        cut_json(body, len(body), 1, limit_values=1000)
