"""The header that names a trace, by the vectors of the W3C's Trace Context."""

from __future__ import annotations

import pytest

from service.tracing.traceparent import trace_id_in

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    "header",
    [
        f"00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-00",
        f"00-{TRACE}-{SPAN}-ff",
        f" 00-{TRACE}-{SPAN}-01\t",
        f"01-{TRACE}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01-what-comes-later",
    ],
)
def test_a_valid_header_names_its_trace(header: str) -> None:
    """Whether it is sampled or not, and of versions to come too."""
    assert trace_id_in([header]) == TRACE


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [""],
        ["no trace"],
        [f"00-{TRACE}-{SPAN}"],
        [f"00-{TRACE}-{SPAN}-1"],
        [f"00-{TRACE}-{SPAN}-01-more"],
        [f"ff-{TRACE}-{SPAN}-01"],
        [f"cc-{TRACE}-{SPAN}-01.more"],
        [f"0-{TRACE}-{SPAN}-01"],
        [f"00-{TRACE.upper()}-{SPAN}-01"],
        [f"00-{'0' * 32}-{SPAN}-01"],
        [f"00-{TRACE}-{'0' * 16}-01"],
        [f"00-{TRACE[:-1]}-{SPAN}-01"],
        [f"00-{TRACE}-{SPAN[:-1]}g-01"],
        [f"00-{TRACE}-{SPAN}-01\n"],
        [f"cc-{TRACE}-{SPAN}-01-{'a' * 500}"],
        [f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-01"],
    ],
)
def test_any_other_names_none(headers: list[str]) -> None:
    """Nor do two of them."""
    assert trace_id_in(headers) == ""
