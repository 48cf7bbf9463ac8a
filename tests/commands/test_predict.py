"""`sge-serve predict` over folders: rows that are added, taken up again, and never torn."""

from __future__ import annotations

import csv
import fcntl
import json
import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.commands.predict import PredictArguments, run
from service.config import Settings
from service.engines.calibration import image_limits
from service.errors import BadRequest, BadSetting, ImageTooLarge
from service.images.contract import InputContract
from service.results.query import MaskFormat, PredictQuery
from service.serving.decode_workers import DecodeHere
from tests.running import noise, png_of

NAMES = ("0.png", "1.png", "a/2.png", "a/b/3.png")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Four pictures at three depths."""
    folder = tmp_path / "pictures"
    for seed, name in enumerate(NAMES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png_of(noise(seed)))
    return folder


class Counting(DecodeHere):
    """Decodes here, and counts the files that it was given.

    Args:
        settings: of the command.
        interrupt_at: at so many of them, as Ctrl-C would.
    """

    def __init__(self, settings: Settings, interrupt_at: int = 0) -> None:
        super().__init__(image_limits(settings))
        self.interrupt_at = interrupt_at
        self.files = 0

    def decode(self, file: bytes, contract: InputContract) -> NDArray[np.uint8]:
        """Give (3, S, S) uint8."""
        self.files += 1
        if self.files == self.interrupt_at:
            os.kill(os.getpid(), signal.SIGINT)
            raise ImageTooLarge("it was interrupted")
        return super().decode(file, contract)


class Command:
    """`sge-serve predict` on the tiny model, decoding in this process.

    Attributes:
        query: what is asked.
        interrupt_at: at so many decoded files comes Ctrl-C.
        decoded: files that the last run decoded.
        said: what it printed.
        warned: what it printed beside that.
    """

    def __init__(self, store: Path) -> None:
        self.settings = Settings(
            model_store=store, engine="eager", device="cpu", precision="fp32", max_batch=1
        )
        self.query = PredictQuery(top_k=2)
        self.interrupt_at = 0
        self.decoded = 0
        self.said: list[str] = []
        self.warned: list[str] = []

    def __call__(self, *files: Path, **arguments: Any) -> int:
        """Run it."""
        decoder = Counting(self.settings, self.interrupt_at)
        self.said, self.warned = [], []
        try:
            asked = PredictArguments(files, self.query, **arguments)
            return run(self.settings, asked, self.said.append, decoder, self.warned.append)
        finally:
            self.decoded = decoder.files


@pytest.fixture
def predict(store: Path) -> Command:
    """The command."""
    return Command(store)


def rows_of(out: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with out.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def names_of(rows: list[dict[str, Any]], folder: Path) -> list[str]:
    """The files of rows, below a folder."""
    return [row["file"].removeprefix(f"{folder}/") for row in rows]


def test_a_folder_becomes_a_row_for_each_picture(
    predict: Command, pictures: Path, tmp_path: Path
) -> None:
    """Recursively, in a stated order, with the classes that one file alone would get."""
    out = tmp_path / "out.csv"

    code = predict(pictures, csv=out)

    rows = rows_of(out)
    predict(pictures / NAMES[2], as_json=True)
    (result,) = json.loads("\n".join(predict.said))["results"]
    assert (code, names_of(rows, pictures)) == (0, list(NAMES))
    assert list(rows[0]) == [
        *("file", "model", "error", "index_1", "label_1", "score_1", "index_2", "label_2"),
        "score_2",
    ]
    for best, expected in enumerate(result["predictions"], 1):
        assert rows[2][f"index_{best}"] == str(expected["index"])
        assert rows[2][f"label_{best}"] == expected["label"]
        assert float(rows[2][f"score_{best}"]) == pytest.approx(expected["score"], rel=1e-5)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
@pytest.mark.parametrize("cut", [0, 1, 30, None])
def test_rows_are_taken_up_where_they_stopped(
    predict: Command, pictures: Path, tmp_path: Path, form: str, cut: int | None
) -> None:
    """What is there stays and is not computed again; half a line is mended; then all is there."""
    out = tmp_path / "out"
    predict(pictures, **{form: out})
    whole = out.read_bytes()
    lines = whole.splitlines(keepends=True)
    kept = b"".join(lines[:-1])
    out.write_bytes(kept + lines[-1][:cut] if cut is not None else whole)

    assert predict(pictures, **{form: out}) == 0
    assert predict.decoded == (0 if cut is None else 1)
    assert out.read_bytes() == whole


@pytest.mark.parametrize(("form", "first"), [("csv", b"file,mod"), ("jsonl", b'{"file":"/tmp/x')])
def test_a_file_that_stopped_in_its_first_line_is_begun_anew(
    predict: Command, pictures: Path, tmp_path: Path, form: str, first: bytes
) -> None:
    """That much is of this command."""
    out = tmp_path / "out"
    out.write_bytes(first)

    assert predict(pictures, **{form: out}) == 0
    assert predict.decoded == len(NAMES)
    assert not out.read_bytes().startswith(first + b"\n")


@pytest.mark.parametrize("form", ["csv", "jsonl"])
@pytest.mark.parametrize("content", [b"a photograph, say", b"name,label\n", b"[1]\n", b"\xff\n"])
def test_a_file_of_other_things_is_left_alone(
    predict: Command, pictures: Path, tmp_path: Path, form: str, content: bytes
) -> None:
    """Whoever names the wrong file loses nothing."""
    out = tmp_path / "out"
    out.write_bytes(content)

    with pytest.raises(BadSetting, match=r"holds other rows than these.* name another file"):
        predict(pictures, **{form: out})
    assert out.read_bytes() == content


def test_rows_of_another_form_or_model_are_not_mixed(
    predict: Command, pictures: Path, store: Path, tmp_path: Path
) -> None:
    """Other columns, or what another model says."""
    out = tmp_path / "out.csv"
    predict(pictures, csv=out)
    predict.query = PredictQuery(top_k=1)
    with pytest.raises(BadSetting, match="holds other rows than these"):
        predict(pictures, csv=out)

    out.write_text(out.read_text().replace("tiny/1", "tiny/7"))
    predict.query = PredictQuery(top_k=2)
    with pytest.raises(BadSetting, match="holds rows of tiny/7, this is tiny/1"):
        predict(pictures, csv=out)


@pytest.mark.parametrize(
    "other",
    [
        {"query": PredictQuery(top_k=1)},
        {"query": PredictQuery(top_k=2)},
        {"query": PredictQuery(top_k=2, masks="last", groups="0", mask_kind="similarity")},
        {"query": PredictQuery(top_k=2, masks="last", groups="0", mask_format="npy")},
        {"query": PredictQuery(top_k=2, masks="last,stage1", groups="0")},
        {"query": PredictQuery(top_k=2, masks="last", groups="0", attribution="top")},
        {"query": PredictQuery(top_k=2, masks="last", groups="0", input=True)},
    ],
)
def test_rows_of_other_classes_and_maps_are_not_mixed(
    predict: Command, pictures: Path, tmp_path: Path, other: dict[str, PredictQuery]
) -> None:
    """Lines of JSON have no heading that tells; the rows do. Those with an error fit all."""
    out = tmp_path / "out.jsonl"
    predict.query = PredictQuery(top_k=2, masks="last", groups="0")
    predict(tmp_path / "absent.png", pictures / "0.png", jsonl=out)
    before = out.read_bytes()

    assert predict(pictures / "0.png", jsonl=out) == 0
    predict.query = other["query"]
    with pytest.raises(BadSetting, match=r"holds other rows than these.* name another file"):
        predict(pictures, jsonl=out)
    assert out.read_bytes() == before


@pytest.mark.parametrize("mask_format", ["json", "npy", "png", "overlay"])
def test_rows_with_every_map_are_taken_up(
    predict: Command, pictures: Path, tmp_path: Path, mask_format: MaskFormat
) -> None:
    """In every form; the same command knows its rows again."""
    predict.query = PredictQuery(
        masks="all", groups="0", attribution="top", input=True, mask_format=mask_format
    )
    out = tmp_path / "out.jsonl"

    codes = [predict(pictures / "0.png", jsonl=out) for _ in range(2)]

    assert (codes, predict.decoded) == ([0, 0], 0)


def test_two_runs_do_not_write_to_one_file(
    predict: Command, pictures: Path, tmp_path: Path
) -> None:
    """The later one is refused before it computes anything; a run that ended holds nothing."""
    out = tmp_path / "out.csv"
    predict(pictures / "0.png", csv=out)

    with out.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(BadSetting, match=r"--csv .*out.csv is written to by another run"):
            predict(pictures, csv=out)

    assert predict(pictures, csv=out) == 0


def test_an_interrupt_keeps_the_rows_so_far(
    predict: Command, pictures: Path, tmp_path: Path
) -> None:
    """Whole lines, from which the next run goes on; the command line makes it exit code 130."""
    out = tmp_path / "out.csv"
    for seed in range(20):
        (pictures / f"more{seed:02}.png").write_bytes(png_of(noise(seed)))

    predict.interrupt_at = 12

    with pytest.raises(KeyboardInterrupt):
        predict(pictures, csv=out)

    predict.interrupt_at = 0
    kept = rows_of(out)
    assert 0 < len(kept) < 24
    assert out.read_bytes().endswith(b"\n")
    assert predict(pictures, csv=out) == 0
    rows = rows_of(out)
    assert (predict.decoded, len(rows)) == (24 - len(kept), 24)
    assert rows[: len(kept)] == kept


def test_what_cannot_be_read_has_a_row_with_its_error(
    predict: Command, pictures: Path, tmp_path: Path
) -> None:
    """Whatever it is, it stops nothing, and the exit code is 1."""
    (pictures / "broken.jpg").write_bytes(b"broken")
    (pictures / "gone.png").symlink_to(tmp_path / "absent")
    (pictures / "notes.txt").touch()
    out = tmp_path / "out.csv"

    code = predict(pictures, pictures / "absent.png", csv=out)

    errors = {Path(row["file"]).name: row["error"] for row in rows_of(out) if row["error"]}
    assert (code, sorted(errors)) == (1, ["absent.png", "broken.jpg", "gone.png"])
    for name in ("absent.png", "gone.png"):
        assert errors[name] == "cannot be read: No such file or directory"
    assert f"{out}: 7 rows added, 3 of them errors; 0 files had theirs" in predict.warned
    assert "passed over 1 files that are no pictures by name: 1 .txt" in predict.warned


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_what_failed_is_tried_again(
    predict: Command, pictures: Path, tmp_path: Path, form: str
) -> None:
    """Its row with the error goes once it has another; others, the mode and a link stay."""
    out, link = tmp_path / "out", tmp_path / "link"
    link.symlink_to(out)
    for name in ("2broken.jpg", "3broken.jpg", "gone.jpg"):
        (pictures / name).write_bytes(b"broken")
    predict(pictures, **{form: link})
    before = out.read_text().splitlines()
    out.chmod(0o640)
    (pictures / "gone.jpg").unlink()
    (pictures / "2broken.jpg").write_bytes(png_of(noise(7)))

    code = predict(pictures, **{form: link})

    rows = out.read_text().splitlines()
    kept = [line for line in before if "/2broken" not in line and "/3broken" not in line]
    assert (code, predict.decoded) == (1, 2)
    assert predict.warned == [f"{link}: 2 rows added, 1 of them errors; 4 files had theirs"]
    assert rows[:-2] == kept
    assert ["/2broken" in rows[-2], "/3broken" in rows[-1]] == [True, True]
    assert (link.is_symlink(), out.stat().st_mode & 0o777) == (True, 0o640)

    (pictures / "3broken.jpg").unlink()
    assert predict(pictures, **{form: link}) == 0


def test_a_picture_has_one_row(
    predict: Command, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it is named or found; the file of rows has none, which a pattern finds."""
    monkeypatch.chdir(pictures)
    out = Path("rows.csv")

    code = predict(Path("*"), Path("0.png"), Path("**/*.png"), csv=out)

    assert (code, names_of(rows_of(out), tmp_path)) == (0, list(NAMES))


class Removing(Counting):
    """Decodes here, and removes a folder at the first file."""

    folder = Path()

    def decode(self, file: bytes, contract: InputContract) -> NDArray[np.uint8]:
        """Give (3, S, S) uint8."""
        shutil.rmtree(self.folder, ignore_errors=True)
        return super().decode(file, contract)


def test_a_folder_may_change_meanwhile(predict: Command, pictures: Path, tmp_path: Path) -> None:
    """What has gone has an error or no row; what came has a row the next time."""
    out = tmp_path / "out.jsonl"
    decoder = Removing(predict.settings)
    decoder.folder = pictures / "a"
    asked = PredictArguments((pictures,), predict.query, jsonl=out)
    run(predict.settings, asked, predict.said.append, decoder)
    (pictures / "new.png").write_bytes(png_of(noise(9)))

    assert predict(pictures, jsonl=out) == 0

    rows = [json.loads(line) for line in out.read_text().splitlines()]
    sound = [row for row in rows if "predictions" in row]
    assert names_of(sound, pictures) == ["0.png", "1.png", "new.png"]
    assert predict.decoded == 1


def test_names_that_are_no_utf8_are_escaped(
    predict: Command, pictures: Path, tmp_path: Path
) -> None:
    """In rows, by which they are known again, and on the terminal."""
    out = tmp_path / "out.jsonl"
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9\n.png"))
    odd.write_bytes(png_of(noise(1)))

    codes = [predict(odd, jsonl=out), predict(odd, jsonl=out)]

    (line,) = out.read_text("utf-8").splitlines()
    assert (codes, predict.decoded) == ([0, 0], 0)
    assert json.loads(line)["file"] == rf"{tmp_path}/caf\xe9\x0a.png"
    predict(odd)
    assert predict.said[0].startswith(rf"{tmp_path}/caf\xe9\x0a.png")


@pytest.mark.parametrize(
    ("out", "reason"),
    [
        ("absent/out.csv", "No such file"),
        ("pictures", "Is a directory"),
        ("/dev/full", "No space left"),
    ],
)
def test_rows_that_cannot_be_written_are_one_clear_line(
    predict: Command, pictures: Path, tmp_path: Path, out: str, reason: str
) -> None:
    """Before a picture is looked at, where that is known by then."""
    with pytest.raises(BadSetting, match=f"--csv .* cannot be written: {reason}"):
        predict(pictures, csv=tmp_path / out)


def test_a_pipe_takes_rows_too(predict: Command, pictures: Path, tmp_path: Path) -> None:
    """For a program that reads them as they come; nothing is taken up from it."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)

    predict(pictures, jsonl=pipe)

    assert os.read(reader, 100_000).count(b"\n") == len(NAMES)
    os.close(reader)


def test_pictures_of_masks_repeat_the_folders_tree(
    predict: Command, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of one name do not collide, and what is drawn is not looked at in turn."""
    monkeypatch.chdir(pictures)
    (pictures / "0.bmp").write_bytes(png_of(noise(4)))
    predict.query = PredictQuery(attribution="1", masks="last", groups="mean", input=True)
    drawn, out = pictures / "drawn", tmp_path / "out.jsonl"

    codes = [predict(Path(), folder=drawn, jsonl=out) for _ in range(2)]

    names = sorted(str(path.relative_to(drawn)) for path in drawn.rglob("*.png"))
    kinds = ("attribution_class1", "input", "layer4.1_gate_mean")
    assert codes == [0, 0]
    assert names == sorted(f"{name}_{kind}.png" for name in ("0.bmp", *NAMES) for kind in kinds)
    assert len(out.read_text().splitlines()) == 5
    assert "masks" not in json.loads(out.read_text().splitlines()[0])  # they are in the folder


def test_long_names_are_shortened_and_stay_apart(
    predict: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that leaves no room for what is drawn stops nothing."""
    (tmp_path / "pictures").mkdir()
    monkeypatch.chdir(tmp_path / "pictures")
    for last in ("1", "2"):
        Path("\u00e9" * 124 + f"{last}.png").write_bytes(png_of(noise(1)))  # 253 bytes
    predict.query = PredictQuery(groups="mean")

    codes = [
        predict(Path(), folder=tmp_path / "drawn", csv=tmp_path / "out.csv"),
        predict(*Path().iterdir(), folder=tmp_path / "flat"),
    ]

    assert codes == [0, 0]
    for folder in ("drawn", "flat"):
        names = [path.name for path in (tmp_path / folder).iterdir()]
        assert len(names) == 2
        assert all(re.search("\u00e9~[0-9a-f]{16}_layer4.1_gate_mean.png$", n) for n in names)
        assert all(255 - 1 <= len(name.encode()) <= 255 for name in names)


def test_a_path_that_leads_up_stays_in_the_folder(
    predict: Command, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is drawn of `../x.png` is not written beside the folder."""
    monkeypatch.chdir(pictures / "a")
    predict.query = PredictQuery(groups="mean")

    predict(Path("../0.png"), folder=tmp_path / "drawn", csv=tmp_path / "out.csv")

    (drawn,) = (tmp_path / "drawn").rglob("*.png")
    assert drawn == tmp_path / "drawn" / "_" / "0.png_layer4.1_gate_mean.png"


def test_what_would_be_drawn_for_nobody_is_refused(
    predict: Command, pictures: Path, tmp_path: Path
) -> None:
    """A row of CSV holds no masks."""
    predict.query = PredictQuery(masks="last")

    with pytest.raises(BadRequest, match="--csv holds classes alone"):
        predict(pictures, csv=tmp_path / "out.csv")


def test_a_document_of_no_pictures_is_a_document(predict: Command, tmp_path: Path) -> None:
    """An empty folder gives an empty list."""
    (tmp_path / "empty").mkdir()

    assert predict(tmp_path / "empty", as_json=True) == 0
    assert json.loads("\n".join(predict.said)) == {"model": "tiny/1", "results": []}
    assert predict.warned == [f"no picture was found in {tmp_path / 'empty'}"]


@pytest.mark.parametrize("looked_at", [".", "a", "a/../a/b", "a/*.png", "**/*.png"])
def test_masks_are_not_drawn_among_the_pictures(
    predict: Command, pictures: Path, looked_at: str
) -> None:
    """They would be looked at in turn, or the whole folder passed over without an answer."""
    with pytest.raises(BadSetting, match=r"is or contains .*, which is looked at: name another"):
        predict(pictures / looked_at, folder=pictures)


def test_masks_may_be_drawn_beside_a_named_picture(predict: Command, pictures: Path) -> None:
    """A file that is named is all that is looked at."""
    predict.query = PredictQuery(groups="mean")

    assert predict(pictures / "0.png", folder=pictures) == 0
    assert predict.warned == []
