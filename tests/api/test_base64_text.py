"""Base64 in every form that clients send."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.base64_text import decode_base64

FORMS: list[Callable[[bytes], bytes]] = [
    base64.b64encode,
    base64.urlsafe_b64encode,
    base64.encodebytes,
    lambda content: base64.encodebytes(content).replace(b"\n", b"\r\n"),
    lambda content: base64.b64encode(content).rstrip(b"="),
    lambda content: b"data:image/png;base64," + base64.b64encode(content),
    lambda content: b"\n data:;charset=utf-8;BASE64," + base64.urlsafe_b64encode(content) + b"\n",
]


@pytest.mark.parametrize("form", FORMS)
@given(content=st.binary(max_size=100), step=st.integers(40, 80))
def test_every_form_means_the_same(
    form: Callable[[bytes], bytes], content: bytes, step: int
) -> None:
    """Lines, both alphabets, data URLs, no padding; wherever the steps end."""
    text = form(content)
    steps = [text[at : at + step] for at in range(0, len(text), step)]

    assert decode_base64(steps) == content


@pytest.mark.parametrize(
    "steps",
    [
        [b"?"],
        [b"YQ=", b"YQ=="],
        [b"YQ==", b"YQ=="],
        [b"YQ", b"==="],
        [b"=", b"YQ"],
        [b"A"],
        [b"data:image/png,AAAA"],
        [b"AAAA", b"data:;base64,AAAA"],
        [b"AAAAdata:x;base64,BBBB"],
        [b"\xff\xff"],
    ],
)
def test_anything_else_is_refused(steps: list[bytes]) -> None:
    """Padding ends the text, and no character is passed over."""
    with pytest.raises(ValueError):  # noqa: PT011 - binascii's own and ours
        decode_base64(steps)
