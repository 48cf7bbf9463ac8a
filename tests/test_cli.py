"""The command line, run as a person runs it, in one process."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
import torch
from PIL import Image

from service.cli import _parser, run
from service.commands.flags import settings_of
from service.config import RENAMED, Settings, flag_of, flags_of, variable_of
from service.store.write import write_version
from tests.engine_builders import needs_torchao
from tests.running import grey
from tests.store_fixtures import new_tiny_version, tiny_weights


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with the tiny model."""
    folder = tmp_path / "store"
    write_version(folder, new_tiny_version())
    return folder


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A picture on disk."""
    file = tmp_path / "grey.png"
    file.write_bytes(grey(90))
    return file


def test_check_says_what_would_be_served(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Model, engine, default and address, and exit code 0."""
    code = run(["check", "--model-store", str(store), "--engine", "eager", "--device", "cpu"])

    out = capsys.readouterr().out
    assert code == 0
    assert "would serve tiny/1: sge_resnet18, 3 classes, 32 px, 8 blocks of 8 groups" in out
    assert "default model: tiny" in out


@needs_torchao
def test_compile_says_why_it_could_not(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A build that fails is one line after those of the log, and exit code 1."""
    (tmp_path / "notes.txt").write_text("no picture")
    pictures = ["--engine", "int8", "--calibration-dir", str(tmp_path)]

    code = run(
        ["compile", "--model-store", str(store), "--cache-dir", str(tmp_path / "c"), *pictures]
    )

    lines = capsys.readouterr().err.splitlines()
    assert code == 1
    assert lines[-1].startswith("sge-serve: the engine raised BadSetting: SGE_CALIBRATION_DIR: ")
    assert json.loads(lines[0])["event"] == "engine is being compiled"


def test_settings_pass_to_another_process_as_flags() -> None:
    """Every kind of value comes back as it was, also one that looks like a flag."""
    settings = Settings(
        model_store=Path("--a store"),
        models=("a", "b/2"),
        tiered=False,
        window_ms=1.5,
        engine="int8",
    )

    parsed = _parser().parse_args(["compile", *flags_of(settings)])

    assert settings_of(parsed) == settings


def test_check_names_a_broken_version_and_the_healthy_ones(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One broken version is reported, the other would be served, exit code 1."""
    broken = write_version(store, new_tiny_version(version="2"))
    (broken / "labels.txt").write_text("a\nb\nc\n")

    code = run(["check", "--model-store", str(store)])

    out = capsys.readouterr().out
    assert code == 1
    assert "not served: tiny/2: " in out
    assert "would serve tiny/1" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "many"], "SGE_PORT=many: input should be a valid integer"),
        (["--engine", "fast"], "SGE_ENGINE=fast: input should be 'auto', 'eager'"),
        (["--max-batch", "0"], "SGE_MAX_BATCH=0: input should be greater than or equal to 1"),
        (["--model-store", "nowhere"], "nowhere cannot be listed"),
        (["--models", "other"], "no model in"),
        (["--default-model", "other"], "SGE_DEFAULT_MODEL=other is not served"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(
    store: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """Exit code 2, and the line names the setting and its value."""
    code = run(["serve", "--model-store", str(store), *arguments])

    err = capsys.readouterr().err
    assert code == 2
    assert err.count("\n") == 1
    assert message.lower() in err.lower()


def test_a_taken_port_is_one_clear_line(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second service on the same port leaves with exit code 2 and says why."""
    with socket.create_server(("127.0.0.1", 0)) as first:
        port = first.getsockname()[1]

        code = run(["serve", "--model-store", str(store), "--engine", "stub", "--port", str(port)])

    complaint = f"sge-serve: cannot listen on SGE_HOST=127.0.0.1 SGE_PORT={port}: "
    assert code == 2
    assert capsys.readouterr().err.startswith(complaint)


def test_settings_come_from_the_environment_too(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A variable sets what no flag does; a flag wins."""
    monkeypatch.setenv("SGE_MODEL_STORE", str(store))
    monkeypatch.setenv("SGE_PORT", "1234")

    by_variable = run(["check"]), capsys.readouterr().out
    by_flag = run(["check", "--port", "99"]), capsys.readouterr().out

    assert "http://127.0.0.1:1234" in by_variable[1]
    assert "http://127.0.0.1:99" in by_flag[1]


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_an_old_name_of_a_setting_is_refused_with_the_new_one(
    store: Path, capsys: pytest.CaptureFixture[str], old: str, new: str
) -> None:
    """As a flag it is one line and exit code 2; passed over, it would set nothing."""
    code = run(["check", "--model-store", str(store), flag_of(old), "7"])

    complaint = f"sge-serve: {variable_of(old)} is called {variable_of(new)} now\n"
    assert (code, capsys.readouterr().err) == (2, complaint)


def test_an_old_variable_is_refused_with_the_new_name(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the environment of a service that was upgraded, say."""
    monkeypatch.setenv("SGE_QUEUE_LIMIT", "16")

    code = run(["check", "--model-store", str(store)])

    assert code == 2
    assert "SGE_QUEUE_LIMIT is called SGE_MAX_IN_FLIGHT now" in capsys.readouterr().err


def test_predict_prints_a_table(
    store: Path, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scores and labels, best first, without a server."""
    code = run(["predict", str(picture), "--model-store", str(store), "--top-k", "2"])

    lines = capsys.readouterr().out.splitlines()
    assert (code, lines[0], len(lines)) == (0, str(picture), 3)
    assert all(line.split()[-1] in {"cat", "dog", "gnu"} for line in lines[1:])


def test_predict_prints_json_and_goes_on_past_a_broken_file(
    store: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each file has its result or its error; one error makes the exit code 1."""
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"broken")
    files = [str(broken), str(tmp_path / "absent.png"), str(picture)]

    code = run(["predict", *files, "--model-store", str(store), "--json", "--masks", "last"])

    document = json.loads(capsys.readouterr().out)
    outcomes = [result.get("error", {}).get("code", "ok") for result in document["results"]]
    assert (code, outcomes) == (1, ["undecodable_image", "undecodable_image", "ok"])
    assert document["results"][2]["masks"][0]["block"] == "layer4.1"


def test_predict_saves_an_overlay_per_group(store: Path, picture: Path, tmp_path: Path) -> None:
    """The files say of which picture, block, kind and group they are."""
    folder = tmp_path / "masks"

    where = ["--model-store", str(store), "--save-masks", str(folder)]
    code = run(["predict", str(picture), *where, "--masks", "last", "--groups", "0,5"])

    names = sorted(path.name for path in folder.iterdir())
    assert code == 0
    assert names == ["1_grey_layer4.1_gate_group0.png", "1_grey_layer4.1_gate_group5.png"]
    with Image.open(folder / names[0]) as overlay:
        assert overlay.size == (32, 32)


def test_overlays_of_files_of_one_name_do_not_collide(
    store: Path, picture: Path, tmp_path: Path
) -> None:
    """Files in two folders, of two formats, or given twice have pictures of their own."""
    folder, namesake = tmp_path / "masks", tmp_path / "elsewhere" / "grey.bmp"
    namesake.parent.mkdir()
    Image.new("RGB", (8, 8)).save(namesake)

    where = ["--model-store", str(store), "--save-masks", str(folder)]
    code = run(["predict", str(picture), str(namesake), str(picture), *where, "--groups", "mean"])

    names = sorted(path.name for path in folder.iterdir())
    assert code == 0
    assert names == [f"{position}_grey_layer4.1_gate_mean.png" for position in (1, 2, 3)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--top-k", "0"], "--top-k=0: input should be greater than or equal to 1"),
        (["--mask-kind", "shape"], "--mask-kind=shape: input should be 'gate' or 'similarity'"),
        (["--masks", "layer9"], "no block 'layer9', there are: last"),
        (["--model", "other"], "no model 'other', served are: tiny"),
    ],
)
def test_predict_bounds_values_as_the_api_does(
    store: Path,
    picture: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    """One line names the flag, its value and what is allowed, with exit code 2."""
    code = run(["predict", str(picture), "--model-store", str(store), *arguments])

    err = capsys.readouterr().err
    assert (code, err.count("\n")) == (2, 1)
    assert message.lower() in err.lower()


def test_import_adds_a_version_that_predicts(
    tmp_path: Path, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A checkpoint on disk becomes a model in the store in one command."""
    checkpoint, store = tmp_path / "weights.pth.tar", tmp_path / "new"
    save_authors_format(checkpoint)

    where = ["--model-store", str(store)]
    what = ["--name", "mine", "--arch", "sge_resnet18", "--size", "32"]
    imported = run(["import", str(checkpoint), *what, *where])
    predicted = run(["predict", str(picture), "--model-store", str(store)])

    assert (imported, predicted) == (0, 0)
    assert f"imported {store / 'mine' / '1'}" in capsys.readouterr().out


def test_a_failed_import_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and the store stays as it was."""
    file, store = tmp_path / "weights.pth", tmp_path / "new"
    file.write_bytes(b"nonsense")

    code = run(
        ["import", str(file), "--name", "m", "--arch", "sge_resnet18", "--model-store", str(store)]
    )

    assert code == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (store / "m").exists()


def save_authors_format(file: Path) -> None:
    """Write the tiny network's weights as the authors of SGE publish theirs."""
    torch.save({"state_dict": {f"module.{k}": v for k, v in tiny_weights().items()}}, file)
