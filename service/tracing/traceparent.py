"""The header by which a request names its trace: Trace Context of the W3C, level 1.

Where spans are made, OpenTelemetry reads it; where none are, the log still names the trace.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

HEADER = "traceparent"
_FORM = re.compile(
    r"(?P<version>[0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(?P<rest>-.*)?"
)
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16
LONGEST = 512  # characters; versions to come may say more than the 55 of this one


def trace_id_in(headers: Sequence[str]) -> str:
    """The trace that a request names by its `traceparent` headers; empty where it names none.

    There is one header or none. A version to come is read as far as it is like the first one.
    """
    if len(headers) != 1 or len(headers[0]) > LONGEST:
        return ""
    found = _FORM.fullmatch(headers[0].strip(" \t"))
    if found is None or found["version"] == "ff" or (found["version"] == "00" and found["rest"]):
        return ""
    _, trace_id, span_id, _ = found.groups()
    return "" if trace_id == _NO_TRACE or span_id == _NO_SPAN else trace_id
