"""The command line, run as a person runs it, in one process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from PIL import Image

from service.api.key_file import digest_of, read_keys
from service.cli import _parser, run
from service.commands.flags import settings_of
from service.config import RENAMED, Settings, flag_of, flags_of, variable_of
from service.store.write import write_version
from tests.engine_builders import needs_torchao
from tests.running import grey
from tests.store_fixtures import new_tiny_version, tiny_weights


@dataclass(frozen=True, slots=True)
class Ended:
    """The exit code of a command, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one line that says what is wrong with the command, in small letters."""
        assert (self.code, self.err.count("\n")) == (2, 1), self.err
        return self.err.lower()


Cli = Callable[..., Ended]


@pytest.fixture
def cli(store: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs `sge-serve` on a store with the tiny model."""

    def command(name: str, *arguments: object) -> Ended:
        code = run([name, f"--model-store={store}", *map(str, arguments)])
        printed = capsys.readouterr()
        return Ended(code, printed.out, printed.err)

    return command


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A picture on disk."""
    file = tmp_path / "grey.png"
    file.write_bytes(grey(90))
    return file


def test_check_says_what_would_be_served(cli: Cli) -> None:
    """Model, engine, default and address, and exit code 0."""
    ended = cli("check", "--engine", "eager", "--device", "cpu")

    assert ended.code == 0
    assert "would serve tiny/1: sge_resnet18, 3 classes, 32 px, 8 blocks of 8 groups" in ended.out
    assert "default model: tiny" in ended.out


@needs_torchao
def test_compile_says_why_it_could_not(cli: Cli, tmp_path: Path) -> None:
    """A build that fails is one line after those of the log, and exit code 1."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "notes.txt").write_text("no picture")
    cache = tmp_path / "cache"

    flags = ("--engine", "int8", "--calibration-dir", pictures, "--cache-dir", cache)
    ended = cli("compile", "--device", "cpu", *flags)

    first, *_, last = ended.err.splitlines()
    assert ended.code == 1
    assert last.startswith("sge-serve: the engine raised BadSetting: SGE_CALIBRATION_DIR: none of")
    assert json.loads(first)["event"] == "engine is being compiled"


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


def test_check_names_a_broken_version_and_the_healthy_ones(cli: Cli, store: Path) -> None:
    """One broken version is reported, the other would be served, exit code 1."""
    broken = write_version(store, new_tiny_version(version="2"))
    (broken / "labels.txt").write_text("a\nb\nc\n")

    ended = cli("check")

    assert ended.code == 1
    assert "not served: tiny/2: " in ended.out
    assert "would serve tiny/1" in ended.out


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
def test_a_wrong_setting_is_one_clear_line(cli: Cli, arguments: list[str], message: str) -> None:
    """Exit code 2, and the line names the setting and its value."""
    assert message.lower() in cli("serve", *arguments).complaint


def test_a_taken_port_is_one_clear_line(cli: Cli) -> None:
    """A second service on the same port leaves with exit code 2 and says why."""
    with socket.create_server(("127.0.0.1", 0)) as first:
        port = first.getsockname()[1]

        ended = cli("serve", "--engine", "stub", "--port", port)

    assert f"cannot listen on sge_host=127.0.0.1 sge_port={port}: " in ended.complaint


def test_settings_come_from_the_environment_too(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable sets what no flag does; a flag wins."""
    monkeypatch.setenv("SGE_PORT", "1234")

    assert "http://127.0.0.1:1234" in cli("check").out
    assert "http://127.0.0.1:99" in cli("check", "--port", "99").out


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_an_old_name_of_a_setting_is_refused_with_the_new_one(cli: Cli, old: str, new: str) -> None:
    """As a flag it is one line and exit code 2; passed over, it would set nothing."""
    complaint = f"sge-serve: {variable_of(old)} is called {variable_of(new)} now\n"

    assert cli("check", flag_of(old), "7") == Ended(2, "", complaint)


def test_an_old_variable_is_refused_with_the_new_name(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the environment of a service that was upgraded, say."""
    monkeypatch.setenv("SGE_QUEUE_LIMIT", "16")

    assert "sge_queue_limit is called sge_max_in_flight now" in cli("check").complaint


def test_predict_prints_a_table(cli: Cli, picture: Path) -> None:
    """Scores and labels, best first, without a server."""
    ended = cli("predict", picture, "--top-k", "2")

    name, *scores = ended.out.splitlines()
    assert (ended.code, name, len(scores)) == (0, str(picture), 2)
    assert all(line.split()[-1] in {"cat", "dog", "gnu"} for line in scores)


def test_predict_prints_json_and_goes_on_past_a_broken_file(
    cli: Cli, picture: Path, tmp_path: Path
) -> None:
    """Each file has its result or its error; one error makes the exit code 1."""
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"broken")

    ended = cli("predict", broken, tmp_path / "absent.png", picture, "--json", "--masks", "last")

    document = json.loads(ended.out)
    outcomes = [result.get("error", {}).get("code", "ok") for result in document["results"]]
    assert (ended.code, outcomes) == (1, ["undecodable_image", "undecodable_image", "ok"])
    assert document["results"][2]["masks"][0]["block"] == "layer4.1"


def test_predict_saves_an_overlay_per_group(cli: Cli, picture: Path, tmp_path: Path) -> None:
    """The files say of which picture, block, kind and group they are."""
    folder = tmp_path / "masks"

    ended = cli("predict", picture, "--save-masks", folder, "--masks", "last", "--groups", "0,5")

    names = sorted(path.name for path in folder.iterdir())
    assert ended.code == 0
    assert names == ["1_grey_layer4.1_gate_group0.png", "1_grey_layer4.1_gate_group5.png"]
    with Image.open(folder / names[0]) as overlay:
        assert overlay.size == (32, 32)


def test_rows_on_standard_output_are_rows_alone(cli: Cli, picture: Path, tmp_path: Path) -> None:
    """What `--csv /dev/stdout` is told beside them goes to standard error."""
    (tmp_path / "notes.txt").touch()

    ended = cli("predict", tmp_path, "--csv", "/dev/null")

    passed_over, added = ended.err.splitlines()
    assert (ended.code, ended.out) == (0, "")
    assert passed_over.startswith("sge-serve: passed over")
    assert added == "sge-serve: /dev/null: 1 rows added, 0 of them errors; 0 files had theirs"


def test_an_interrupted_command_says_so_with_its_exit_code(cli: Cli, tmp_path: Path) -> None:
    """Ctrl-C while a picture is being read: one line, and 130 as shells tell it."""
    pipe = tmp_path / "picture.png"
    os.mkfifo(pipe)

    def interrupt() -> None:
        with pipe.open("wb"):  # returns once the command reads
            os.kill(os.getpid(), signal.SIGINT)

    person = threading.Thread(target=interrupt)
    person.start()
    ended = cli("predict", pipe, "--csv", tmp_path / "out.csv")
    person.join()

    assert ended == Ended(130, "", "sge-serve: interrupted\n")


def test_a_reader_who_leaves_ends_a_command_quietly(store: Path, picture: Path) -> None:
    """What is piped into `head` says nothing of itself."""
    reader, writer = os.pipe()
    os.close(reader)
    arguments = ["predict", f"--model-store={store}", str(picture)]

    with open(writer, "w") as output, contextlib.redirect_stdout(output):  # noqa: PTH123
        code = run(arguments)

    assert code == 1


def test_evaluate_takes_a_list_of_engines(cli: Cli, picture: Path, tmp_path: Path) -> None:
    """Side by side in one table, of one folder for each class."""
    (tmp_path / "pictures" / "Dog").mkdir(parents=True)
    picture.rename(tmp_path / "pictures" / "Dog" / "grey.png")

    ended = cli("evaluate", tmp_path / "pictures", "--engine", "eager,stub")

    lines = ended.out.splitlines()
    assert (ended.code, lines[0]) == (0, f"tiny/1 on 1 pictures of {tmp_path / 'pictures'}")
    assert lines[2].split()[:2] == ["engine", "top-1"]
    assert [line.split()[0] for line in lines[3:5]] == ["eager", "stub"]


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_a_broken_latest_version_is_told_beside_the_answer(
    cli: Cli, store: Path, picture: Path, command: str
) -> None:
    """On standard error: the answer, which may go into a pipe, is by the version before."""
    (picture.parent / "pictures" / "Dog").mkdir(parents=True)
    picture.rename(picture.parent / "pictures" / "Dog" / "grey.png")
    broken = write_version(store, new_tiny_version(version="2"))
    (broken / "labels.txt").write_text("a\nb\nc\n")

    ended = cli(command, picture.parent / "pictures", "--engine", "eager")

    assert (ended.code, ended.err.count("\n")) == (0, 1)
    assert ended.err.startswith("sge-serve: not served: tiny/2: ")
    assert "tiny/2" not in ended.out


def test_evaluate_names_an_engine_that_is_none(cli: Cli, tmp_path: Path) -> None:
    """As for the setting."""
    complaint = cli("evaluate", tmp_path, "--engine", "eager,fast").complaint

    assert "sge_engine=fast: input should be 'auto', 'eager'" in complaint


def test_evaluate_lists_folders_that_are_no_classes(cli: Cli, tmp_path: Path) -> None:
    """A line for each; a break in a name makes no further one."""
    for name in ("Dgo", "cat\nsge-serve: all is well", "Cat"):
        (tmp_path / "pictures" / name).mkdir(parents=True)

    ended = cli("evaluate", tmp_path / "pictures")

    first, *others = ended.err.splitlines()
    assert (ended.code, ended.out) == (2, "")
    assert first.startswith("sge-serve: 2 of 3 folders are not classes of the model; rename them")
    assert others == [
        "  Dgo: no label 'Dgo', nearest are 'dog'",
        "  cat?sge-serve: all is well: no label 'cat\\nsge-serve: all is well', none is near",
    ]


def test_a_folder_that_cannot_be_written_is_one_clear_line(cli: Cli, picture: Path) -> None:
    """It is named, before any picture is looked at."""
    ended = cli("predict", picture, "--save-masks", picture / "below")

    assert f"--save-masks {picture}/below cannot be written: not a directory" in ended.complaint
    assert ended.out == ""


def test_overlays_of_files_of_one_name_do_not_collide(
    cli: Cli, picture: Path, tmp_path: Path
) -> None:
    """Files in two folders, of two formats, or given twice have pictures of their own."""
    folder, namesake = tmp_path / "masks", tmp_path / "elsewhere" / "grey.bmp"
    namesake.parent.mkdir()
    Image.new("RGB", (8, 8)).save(namesake)

    ended = cli("predict", picture, namesake, picture, "--save-masks", folder, "--groups", "mean")

    names = sorted(path.name for path in folder.iterdir())
    assert ended.code == 0
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
    cli: Cli, picture: Path, arguments: list[str], message: str
) -> None:
    """One line names the flag, its value and what is allowed, with exit code 2."""
    assert message in cli("predict", picture, *arguments).complaint


def test_import_adds_a_version_that_predicts(
    cli: Cli, store: Path, picture: Path, tmp_path: Path
) -> None:
    """A checkpoint as the authors of SGE publish theirs becomes a model in one command."""
    checkpoint = tmp_path / "weights.pth.tar"
    state = {f"module.{name}": value for name, value in tiny_weights().items()}
    torch.save({"state_dict": state}, checkpoint)

    what = ["--name", "mine", "--arch", "sge_resnet18", "--size", "32", "--stem", "small"]
    imported = cli("import", checkpoint, *what)
    predicted = cli("predict", picture, "--model", "mine")

    assert (imported.code, predicted.code) == (0, 0)
    assert f"imported {store / 'mine' / '1'}" in imported.out


def test_a_failed_import_is_one_clear_line(cli: Cli, store: Path, tmp_path: Path) -> None:
    """Exit code 2, and the store stays as it was."""
    file = tmp_path / "weights.pth"
    file.write_bytes(b"nonsense")

    assert cli("import", file, "--name", "m", "--arch", "sge_resnet18").complaint
    assert not (store / "m").exists()


def test_a_new_key_is_printed_once_and_kept_as_a_digest(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key alone on standard output, for a script; into the file named, or the service's."""
    file = tmp_path / "keys"
    monkeypatch.setenv("SGE_API_KEYS_FILE", str(file))

    codes = [run(["key", "new", "shop", "--file", str(file)]), run(["key", "new", "till"])]

    printed = capsys.readouterr()
    keys = [digest_of(line.encode()) for line in printed.out.splitlines()]
    assert codes == [0, 0]
    assert list(read_keys(file).items()) == list(zip(("shop", "till"), keys, strict=True))
    assert printed.err.startswith(f"added shop to {file}; its key is shown only here\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["shop"], "name the file of keys: --file FILE, or SGE_API_KEYS_FILE"),
        (["a b", "--file", "keys"], "'a b' is no name of a key"),
        (["shop", "--file", "/nowhere/keys"], "/nowhere/keys cannot be written: no such file"),
    ],
)
def test_a_key_that_cannot_be_made_is_one_clear_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """Exit code 2, and nothing that looks like a key."""
    code = run(["key", "new", *arguments])

    printed = capsys.readouterr()
    assert (code, printed.out) == (2, "")
    assert printed.err.startswith(f"sge-serve: {message}")


def test_check_reads_the_file_of_keys(cli: Cli, tmp_path: Path) -> None:
    """A damaged one is found before the service starts."""
    (tmp_path / "keys").write_text("nonsense")

    ended = cli("check", "--engine", "stub", "--api-keys-file", tmp_path / "keys")

    assert ended.complaint.startswith("sge-serve: sge_api_keys_file: ")
    assert "line 1 is not of the form name sha256:hex" in ended.complaint
