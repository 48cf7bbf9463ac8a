"""`make bench` on the command line: flags, files and exit codes."""

from __future__ import annotations

import argparse
import dataclasses
import json
from importlib import metadata
from pathlib import Path

import orjson
import pytest

from service.config import Settings
from tests.bench.__main__ import main
from tests.bench.entrants import Note
from tests.bench.report import Report
from tests.bench.test_report import REPORT


def found(settings: Settings, options: argparse.Namespace, note: Note) -> Report:
    """Stands for measuring."""
    note("measuring")
    return dataclasses.replace(REPORT, rows=REPORT.rows[: options.rounds])


def test_engines_are_measured_and_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """One object on standard output; what is being done goes to standard error."""
    network = ["--arch", "sge_resnet18", "--size", "64", "--groups", "8", "--quick"]
    few = ["--engines", "eager,openvino", "--batch", "1", "--rounds", "1", "--device", "cpu"]

    code = main(["engines", *network, *few, "--precisions", "fp32", "--json"])

    out, err = capsys.readouterr()
    document = json.loads(out)
    assert code == 0
    assert [row["model"] for row in document["rows"]] == ["plain", "as written", "fused"]
    machine = document["machine"]
    assert machine["cpu"]
    assert machine["versions"]["torch"] == metadata.version("torch")
    assert machine["network"]["architecture"] == "sge_resnet18"
    assert set(machine["peak_gflops"]) == {"fp32", "bf16", "multiply-adds"}
    assert "building eager fp32, plain" in err
    absent = {entry["name"]: entry["reason"] for entry in document["absent"]}
    assert "sge-serve[bench]" in absent.get("openvino fp32, as written", "sge-serve[bench]")


def test_files_are_written_beside_the_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With files for the JSON and the picture, a person still reads the tables."""
    files = [f"--json={tmp_path / 'found.json'}", f"--plot={tmp_path / 'found.png'}"]

    code = main(["decode", *files], {"decode": found})

    out, err = capsys.readouterr()
    assert code == 0
    assert (tmp_path / "found.json").read_bytes() == orjson.dumps(
        REPORT.document(), option=orjson.OPT_INDENT_2
    )
    assert (tmp_path / "found.png").read_bytes().startswith(b"\x89PNG")
    assert "ours_over_best_peer_b8" in out
    assert err == "measuring\n"


def test_a_run_that_measured_nothing_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, and the report of what was absent."""

    def none(settings: Settings, options: argparse.Namespace, note: Note) -> Report:
        return dataclasses.replace(REPORT, rows=())

    assert main(["decode"], {"decode": none}) == 1
    assert "nothing was measured" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["decode", "--pictures", "nowhere"], "--pictures nowhere is not a folder"),
        (["decode", "--model", "m", "--model-store", "nowhere"], "nowhere cannot be listed"),
        (["engines", "--arch", "vgg"], "unknown architecture 'vgg'"),
        (["engines", "--size", "32"], "an input of 32 px ends in a 1x1 map"),
        (["service", "--max-batch", "0"], "SGE_MAX_BATCH=0"),
    ],
)
def test_what_cannot_be_measured_is_one_clear_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """Exit code 2, before minutes are spent."""
    code = main(arguments)

    err = capsys.readouterr().err.splitlines()
    assert code == 2
    assert message.lower() in err[-1].lower()


@pytest.mark.parametrize(
    ("flag", "name"),
    [("--json", "nowhere/found"), ("--plot", "nowhere/found.png"), ("--plot", "found.txt")],
)
def test_a_file_that_cannot_be_written_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flag: str, name: str
) -> None:
    """A folder that is not there, or a picture of no known format, named with the flag."""
    file = tmp_path / name

    assert main(["decode", flag, str(file)], {"decode": found}) == 2
    assert f"bench: {flag} {file} cannot be written: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--precisions", "fp64"], "'fp64' is no precision, known are: fp32, bf16, fp16, int8"),
        (["--batch", "1,0"], "'0' is not a number of at least 1"),
        (["--rounds", "few"], "'few' is not a number of at least 1"),
        (["--minutes", "few"], "'few' is not a number between 0 and 1440"),
        (["--minutes", "nan"], "'nan' is not a number between 0 and 1440"),
    ],
)
def test_a_wrong_flag_is_refused_by_its_value(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """Exit code 2, as for every wrong flag."""
    with pytest.raises(SystemExit) as left:
        main(["engines", *arguments])

    assert left.value.code == 2
    assert message in capsys.readouterr().err
