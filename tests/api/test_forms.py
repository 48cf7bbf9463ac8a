"""Forms of files: what is split, and what is refused before it costs much."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.forms import LONGEST_TYPE, STEP_BYTES, split_form
from service.errors import BadRequest

TYPE = "multipart/form-data; boundary=x"
HEAD = b'--x\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n'


def form_of(*files: bytes) -> bytes:
    """A form of these files."""
    return b"".join(HEAD + file + b"\r\n" for file in files) + b"--x--\r\n"


@given(
    files=st.lists(st.binary() | st.sampled_from([b"\r\n--", b"\r\n--y", b"\r"]), max_size=4),
    filler=st.integers(0, 100),
)
def test_files_come_out_as_they_went_in(files: list[bytes], filler: int) -> None:
    """Whatever they hold but the boundary, and wherever the steps of the parser end."""
    files = [bytes(STEP_BYTES - filler), *files]

    assert split_form(TYPE, form_of(*files), len(files)) == files


def test_parts_may_have_headers_of_their_own() -> None:
    """Names with quotes, a type, padding behind the boundary, and lines before the first."""
    form = (
        b'\r\n--x\r\ncontent-type: image/png\r\nContent-Disposition: form-data; name="a"; '
        b'filename="a\\"b;c.png"\r\n\r\nA\r\n--x \t\r\n' + form_of(b"B").removeprefix(b"--x\r\n")
    )

    assert split_form('multipart/form-data; boundary="x"', form, 2) == [b"A", b"B"]


@pytest.mark.parametrize(
    ("content_type", "form", "message"),
    [
        ("multipart/form-data", form_of(b"A"), "the content type names no boundary"),
        (TYPE + ";" * LONGEST_TYPE, form_of(b"A"), "the content type has more than 1024 bytes"),
        (TYPE, b"nonsense", "it is not well-formed"),
        (TYPE, HEAD + b"half of", "it does not end"),
        (TYPE, form_of(b"A", b"B", b"C"), "more than 2 images, the limit"),
        (TYPE, b"--x\r\na: b\r\n\r\nA\r\n--x--", "a part has no name"),
        (
            TYPE,
            b'--x\r\nContent-Disposition: form-data; name="n"\r\n\r\nA\r\n--x--',
            "field 'n' is not a file (with curl: -F n=@FILE)",
        ),
        (TYPE, HEAD + b"A\r\n--x--" + bytes(60_000), "more than 18432 bytes around its files"),
        (TYPE, HEAD + b"\r\n--xy" * 100, "it has more than 18 parts"),
    ],
)
def test_what_is_no_form_of_files_is_refused(content_type: str, form: bytes, message: str) -> None:
    """A form that was cut off is not answered in part."""
    with pytest.raises(BadRequest) as refused:
        split_form(content_type, form, 2)

    assert message in refused.value.message
