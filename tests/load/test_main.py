"""The command: its exit codes, its files, and that it keeps quiet where it must."""

from __future__ import annotations

import argparse
import socket
from pathlib import Path

import orjson
import pytest

from tests.load.__main__ import main, wait_until_settled
from tests.load.fake_target import FakeTarget
from tests.load.report import Report
from tests.load.test_report import make_report
from tests.load.verdicts import ClientTooSlow
from tests.load.virtual_time import run_virtually


def files(folder: Path) -> list[str]:
    """Flags that ask for every file."""
    return [f"--{name}={folder / 'report'}.{name}" for name in ("json", "html", "png")]


def test_a_report_is_printed_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tables go to the terminal, everything else into the files that were asked for."""
    report = make_report()

    async def load(options: argparse.Namespace) -> Report:
        return report

    code = main(files(tmp_path), load)

    assert code == 0
    assert "knee, constant arrivals" in capsys.readouterr().out
    assert orjson.loads((tmp_path / "report.json").read_bytes())["url"] == "http://fake"
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")


def test_a_client_that_was_the_bottleneck_reports_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not one figure and not one file: the exit code is 3, the reason is told."""

    async def load(options: argparse.Namespace) -> Report:
        raise ClientTooSlow("the client was the bottleneck at 60/s (poisson): it sent late")

    code = main(files(tmp_path), load)

    assert code == 3
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == (
        "no report: the client was the bottleneck at 60/s (poisson): it sent late.\n"
        "Run the client on another machine than the service, or try lower rates.\n"
    )


def test_a_service_that_is_not_there_is_told_in_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 1, and the address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    code = main([f"--url=http://127.0.0.1:{port}"])

    out = capsys.readouterr().out
    assert code == 1
    assert out.startswith(f"http://127.0.0.1:{port} cannot be tested: ")
    assert out.count("\n") == 1


def test_arrivals_have_two_names(capsys: pytest.CaptureFixture[str]) -> None:
    """Anything else is a wrong flag."""
    with pytest.raises(SystemExit) as ended:
        main(["--arrivals=bursts"])

    assert ended.value.code == 2
    assert "bursts: not poisson, constant or both" in capsys.readouterr().err


def test_a_settled_engine_is_not_waited_for() -> None:
    """A model at its final tier is measured at once."""
    said: list[str] = []

    run_virtually(wait_until_settled(FakeTarget(0.01), 60, said.append))

    assert said == []


def test_an_engine_that_never_settles_is_waited_for_so_long_and_no_longer() -> None:
    """After that time the test goes on with what is there, and says so."""
    said: list[str] = []

    run_virtually(wait_until_settled(FakeTarget(0.01, tier="first"), 60, said.append))

    assert said == [
        "the engine is at tier first: waiting for the one that stays",
        "after 60 s it is still not there: going on with what answers (--wait-s)",
    ]


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8000", "http://:80", "http://h:x", "http://h/prefix", "ftp://h"]
)
def test_what_is_no_address_is_a_wrong_flag(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Told with an example of one."""
    with pytest.raises(SystemExit) as ended:
        main([f"--url={url}"])

    assert ended.value.code == 2
    assert f"{url}: not an address such as http://127.0.0.1:8000" in capsys.readouterr().err
