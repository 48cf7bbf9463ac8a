"""`make bench` on the command line: flags, files and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from service.errors import BadSetting
from tests.bench.__main__ import main
from tests.bench.plot import save_plot
from tests.bench.test_report import REPORT

TINY_NETWORK = ["--arch", "sge_resnet18", "--size", "64", "--groups", "8"]


def test_bench_engines_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    """One document on standard output; what is being done goes to standard error."""
    few = ["--engines", "eager", "--batch", "1", "--rounds", "1", "--quick", "--device", "cpu"]

    code = main(["engines", *TINY_NETWORK, *few, "--json"])

    out, err = capsys.readouterr()
    document = json.loads(out)
    assert code == 0
    assert [row["model"] for row in document["rows"]] == ["plain", "as written", "fused"]
    assert document["machine"]["network"]["architecture"] == "sge_resnet18"
    assert "building eager fp32, plain" in err


def test_bench_decode_writes_a_file_and_prints_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a file for the JSON, a person still reads the table."""
    file = tmp_path / "decode.json"

    code = main(["decode", "--quick", "--rounds", "1", "--json", str(file)])

    assert code == 0
    assert "decode_over_pillow_jpeg_500x375" in json.loads(file.read_bytes())["ratios"]
    assert "jpeg 12 MP" in capsys.readouterr().out


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
    code = main([*arguments])

    err = capsys.readouterr().err.splitlines()
    assert code == 2
    assert message.lower() in err[-1].lower()


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


def test_a_plot_is_a_png(tmp_path: Path) -> None:
    """One panel a batch size, where matplotlib is installed."""
    pytest.importorskip("matplotlib", reason="matplotlib comes with the extra `bench`")
    file = tmp_path / "plot.png"

    save_plot(REPORT, file)

    assert file.read_bytes().startswith(b"\x89PNG")


def test_a_plot_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    """A folder that is not there, named with the flag."""
    pytest.importorskip("matplotlib", reason="matplotlib comes with the extra `bench`")
    file = tmp_path / "nowhere" / "plot.png"

    with pytest.raises(BadSetting, match=r"^--plot .*plot\.png cannot be written: "):
        save_plot(REPORT, file)
