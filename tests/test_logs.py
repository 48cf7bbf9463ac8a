"""Log lines: which form they take, and what each of them says of its request."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

LOG_A_LINE = """
import sys
import structlog
from service.logs import configure_logs
configure_logs("info", sys.argv[1])
structlog.stdlib.get_logger("test").info("something", number=1)
"""
ESCAPE = "\x1b["


def line_to(standard_error: int, style: str, **variables: str) -> None:
    """Have a process write one line."""
    command = [sys.executable, "-c", LOG_A_LINE, style]
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    subprocess.run(command, stderr=standard_error, env=environment | variables, check=True)


def line_on_terminal(style: str, **variables: str) -> str:
    """The line as a terminal gets it."""
    ours, theirs = pty.openpty()
    try:
        line_to(theirs, style, **variables)
        return os.read(ours, 10_000).decode()
    finally:
        os.close(ours)
        os.close(theirs)


def line_in_file(folder: Path, style: str) -> str:
    """The line as a file gets it."""
    file = folder / "log"
    with file.open("w") as opened:
        line_to(opened.fileno(), style)
    return file.read_text()


def test_a_person_at_a_terminal_gets_lines_to_read() -> None:
    """In colours, unless a form is named or `NO_COLOR` asks for plain text."""
    by_itself = line_on_terminal("auto")
    plain = line_on_terminal("auto", NO_COLOR="1")
    named = line_on_terminal("json")

    assert ESCAPE in by_itself
    assert "something" in plain
    assert ESCAPE not in plain
    assert json.loads(named)["number"] == 1


@pytest.mark.parametrize("style", ["auto", "json"])
def test_a_collector_of_logs_gets_objects(tmp_path: Path, style: str) -> None:
    """Wherever standard error is no terminal, as in a container."""
    line = json.loads(line_in_file(tmp_path, style))

    assert (line["event"], line["level"], line["number"]) == ("something", "info", 1)


def test_lines_to_read_in_a_file_have_no_colours(tmp_path: Path) -> None:
    """Escapes are for terminals."""
    line = line_in_file(tmp_path, "console")

    assert "something" in line
    assert ESCAPE not in line


def test_grpc_writes_no_lines_of_its_own() -> None:
    """A client's metadata would put a traceback into the log, as often as it likes."""
    theirs = "logging.getLogger('grpc._cython.cygrpc').error('a traceback')"
    command = [sys.executable, "-c", f"{LOG_A_LINE}\nimport logging; {theirs}", "json"]

    told = subprocess.run(command, capture_output=True, text=True, check=True).stderr

    assert [json.loads(line)["event"] for line in told.splitlines()] == ["something"]
