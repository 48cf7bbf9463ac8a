"""What the service tells whoever started it: pages that there are, and a line that works."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.commands.announcements import ready_lines
from tests.connecting import new_runtime

ADDRESS = "http://127.0.0.1:1"


@pytest.mark.parametrize(
    ("closed", "named"),
    [
        ("", ["page", "docs", "predict"]),
        ("page", ["docs", "predict"]),
        ("docs,metrics", ["page", "predict"]),
        ("docs,page", ["predict"]),
    ],
)
def test_only_what_is_open_is_named(closed: str, named: list[str]) -> None:
    """And the example picture only where it can be got."""
    _, *lines = ready_lines(new_runtime(closed=closed), ADDRESS).splitlines()

    assert [line.split()[0] for line in lines] == named
    assert (f"{ADDRESS}/static/example.png" in lines[-1]) == (closed != "docs,page")


def test_the_line_to_try_has_a_key_where_one_is_needed(tmp_path: Path) -> None:
    """As a shell's variable: the service does not know the keys."""
    plain = ready_lines(new_runtime(), ADDRESS)
    keyed = ready_lines(new_runtime(api_keys_file=tmp_path / "keys"), ADDRESS)

    assert '-H "X-API-Key: $KEY"' in keyed
    assert "X-API-Key" not in plain
