"""The flags of `sge-serve import`, as a person types them."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.cli import run
from tests.model.foreign.states import state_of, under
from tests.store_fixtures import pickled


def test_an_import_reads_its_flags(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The architecture needs none; the input has all of them, and a report writes nothing."""
    checkpoint, store = tmp_path / "best.ckpt", tmp_path / "store"
    checkpoint.write_bytes(pickled({"state_dict": under("net.", state_of())}))

    flags = "--size 48 --resize 60 --interpolation bicubic --mean 0.5 --std 0.25,0.25,0.3 --dry-run"
    line = [
        "import",
        "--stem",
        "small",
        checkpoint,
        "--name",
        "mine",
        "--model-store",
        store,
        *flags.split(),
    ]
    code = run([str(word) for word in line])

    printed = capsys.readouterr().out
    assert code == 0
    assert (
        "input         48 x 48 px RGB, the centre of the picture after scaling its shorter side to "
        "60 px, bicubic; mean 0.5, 0.5, 0.5, standard deviation 0.25, 0.25, 0.3\n"
    ) in printed
    assert printed.endswith("\nnext: the same without --dry-run\n")
    assert not store.exists()


@pytest.mark.parametrize(
    "flags",
    [
        "--crop-fraction 0.9 --resize 256",
        "--mean 0.5,0.5",
        "--std red",
        "--fit stretch",
        "--interpolation nearest",
        "--shorter-side",
    ],
)
def test_flags_that_make_no_sense_are_refused(
    capsys: pytest.CaptureFixture[str], flags: str
) -> None:
    """As every flag's, before anything is read."""
    with pytest.raises(SystemExit) as ended:
        run(["import", "net.pth", "--name", "mine", *flags.split()])

    assert ended.value.code == 2
    assert flags.partition(" ")[0] in capsys.readouterr().err


def test_a_name_out_of_a_file_is_shown_without_what_steers_a_terminal(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A checkpoint is anybody's, and so are its names."""
    checkpoint = tmp_path / "net.pth"
    checkpoint.write_bytes(pickled(state_of() | {"layer9.\x1b[2J": state_of()["fc.weight"]}))

    line = ["import", str(checkpoint), "--name", "mine", "--stem", "small"]
    code = run([*line, "--model-store", str(tmp_path)])

    assert code == 2
    assert capsys.readouterr().err == (
        "sge-serve: the weights do not fit sge_resnet18 with 3 classes and 8 groups: "
        "1 unexpected; nearest: layer9.?[2J is not expected\n"
    )


def test_a_wrong_expectation_is_one_clear_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Exit code 2, and nothing is written."""
    checkpoint, store = tmp_path / "net.pth", tmp_path / "store"
    checkpoint.write_bytes(pickled(state_of()))

    line = ["import", checkpoint, "--name", "mine", "--model-store", store, "--expect", "a.png=cow"]
    code = run([str(word) for word in line])

    assert (code, store.exists()) == (2, False)
    assert capsys.readouterr().err == (
        "sge-serve: --expect 'a.png=cow': 'cow' is no label and no index from 0 to 2\n"
    )


@pytest.mark.parametrize("text", ["a.png", "=cat", "a.png="])
def test_an_expectation_is_checked_before_anything_is_read(
    capsys: pytest.CaptureFixture[str], text: str
) -> None:
    """The file that is not there is not looked for."""
    code = run(["import", "absent.pth", "--name", "mine", "--expect", text])

    assert code == 2
    assert capsys.readouterr().err == f"sge-serve: --expect {text!r} must be PICTURE=CLASS\n"
