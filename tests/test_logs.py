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
LOG_A_REQUEST = """
import sys
import structlog
from service.logs import configure_logs
configure_logs("info", sys.argv[1])
log = structlog.stdlib.get_logger("access")
log.info("request", method="GET", path=sys.argv[2], status=404, outcome="not_found", client="::1")
"""
LOG_WHAT_A_TERMINAL_OBEYS = """
import logging
import sys
import structlog
from service.logs import configure_logs
configure_logs("info", sys.argv[1])
obeyed = "\\x1b]0;owned\\x07\\x1b[2J\\x9b2J\\r\\nline"
log = structlog.stdlib.get_logger("test")
log.info("request", method="GET", path=obeyed, status=404)
log.info(obeyed, names=[obeyed], table={obeyed: obeyed}, reason=ValueError(obeyed))
logging.getLogger("library").warning("could not read %s", obeyed)
try:
    raise ValueError(obeyed)
except ValueError:
    log.exception("failed")
"""
LOG_AS_TORCH_DOES = """
import logging
import sys
import torch
from service.logs import configure_logs
configure_logs("info", sys.argv[1])
logging.getLogger("torch.utils.cpp_extension").warning("no runtime")
"""
ESCAPE = "\x1b["


def line_to(
    standard_error: int, *arguments: str, program: str = LOG_A_LINE, **variables: str
) -> None:
    """Have a process write one line, or what another program writes."""
    command = [sys.executable, "-c", program, *arguments]
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


def line_in_file(folder: Path, *arguments: str, program: str = LOG_A_LINE) -> str:
    """The line as a file gets it."""
    file = folder / "log"
    with file.open("w") as opened:
        line_to(opened.fileno(), *arguments, program=program)
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


def test_a_request_is_told_first_in_lines_to_read(tmp_path: Path) -> None:
    """What was asked for and its status, then the rest as it was noted; a collector has names."""
    line = line_in_file(tmp_path, "console", "/-", program=LOG_A_REQUEST)
    named = json.loads(line_in_file(tmp_path, "json", "/-", program=LOG_A_REQUEST))

    assert line.split()[1:] == ["[info", "]", "GET", "/-", "404", "outcome=not_found", "client=::1"]
    assert (named["event"], named["method"], named["path"], named["status"]) == (
        "request",
        "GET",
        "/-",
        404,
    )


def test_torch_writes_no_lines_of_its_own(tmp_path: Path) -> None:
    """Each of its loggers would have a form of its own, past that of the log."""
    line = json.loads(line_in_file(tmp_path, "json", program=LOG_AS_TORCH_DOES))

    assert (line["event"], line["level"]) == ("no runtime", "warning")


@pytest.mark.parametrize("style", ["console", "json"])
def test_no_terminal_obeys_a_line(tmp_path: Path, style: str) -> None:
    """Whatever a client or a file has put into it: controls are not printed, nor lines forged."""
    lines = line_in_file(tmp_path, style, program=LOG_WHAT_A_TERMINAL_OBEYS)

    assert {character for character in lines if not character.isprintable()} == {"\n"}
    assert [line for line in lines.split("\n") if line.startswith("line")] == []
    assert "owned" in lines


def test_grpc_writes_no_lines_of_its_own() -> None:
    """A client's metadata would put a traceback into the log, as often as it likes."""
    theirs = "logging.getLogger('grpc._cython.cygrpc').error('a traceback')"
    command = [sys.executable, "-c", f"{LOG_A_LINE}\nimport logging; {theirs}", "json"]

    told = subprocess.run(command, capture_output=True, text=True, check=True).stderr

    assert [json.loads(line)["event"] for line in told.splitlines()] == ["something"]
