"""`sge-serve evaluate`, on a folder of pictures for each class."""

from __future__ import annotations

import base64
import re
import shutil
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from service.commands.evaluate import EvaluateArguments, run
from service.config import Settings
from service.engines.calibration import image_limits, plan_with_pictures
from service.engines.plan import EnginePlan
from service.engines.stub import StubEngine
from service.errors import BadSetting, EngineFailed
from service.images.decode import decode
from service.images.preprocess import preprocess
from service.serving.decode_workers import DecodeHere
from service.store.load import LoadedModel, load_version
from tests.engine_builders import infer
from tests.fakes import FakeEngine
from tests.running import noise, png_of

FOLDERS = ("Cat", "dog", "GNU")
EACH = 4


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Four pictures of noise for each class, one of them in a folder of its own."""
    folder = tmp_path / "pictures"
    for number, name in enumerate(FOLDERS):
        (folder / name / "more").mkdir(parents=True)
        for picture in range(EACH):
            place = folder / name / ("more" if picture == 0 else ".")
            (place / f"{picture}.png").write_bytes(png_of(noise(10 * number + picture)))
    return folder


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What a command ended with, said and wrote."""

    code: int
    said: str
    figures: dict[str, Any]
    page: str


def evaluate(
    store: Path, folder: Path, *engines: str, classes: Path | None = None, plan: Any = None
) -> Evaluated:
    """Run the command, decoding in this process."""
    written, page = store.parent / "figures.json", store.parent / "page.html"
    settings = [
        Settings(model_store=store, engine=engine, device="cpu", precision="fp32", tiered=False)
        for engine in engines or ["eager"]
    ]
    said: list[str] = []
    code = run(
        settings,
        EvaluateArguments(folder, classes=classes, json=written, html=page),
        said.append,
        plan or plan_with_pictures,
        DecodeHere(image_limits(settings[0])),
    )
    return Evaluated(
        code, "\n".join(said), orjson.loads(written.read_bytes()), page.read_text("utf-8")
    )


def test_figures_are_those_of_the_model(store: Path, pictures: Path) -> None:
    """Every picture is counted under its folder's class, by what the engine says of it."""
    model = load_version(store / "tiny" / "1")
    settings = Settings(model_store=store, engine="eager", device="cpu", precision="fp32")
    engine = plan_with_pictures(model, settings).final
    engine.load()
    files = sorted(pictures.rglob("*.png"))
    contract, limits = model.manifest.input, image_limits(settings)
    rows = [preprocess(decode(f.read_bytes(), limits, contract), contract) for f in files]
    best = infer(engine, rows, frozenset()).logits.argmax(axis=1)
    truth = np.array([FOLDERS.index(file.relative_to(pictures).parts[0]) for file in files])

    evaluated = evaluate(store, pictures)

    figures = evaluated.figures
    cells = {(c["truth"], c["predicted"]): c["count"] for c in figures["confusion"]}
    expected = {(t, b): int(((truth == t) & (best == b)).sum()) for t in range(3) for b in range(3)}
    assert (evaluated.code, figures["pictures"], figures["model"]) == (0, 12, "tiny/1")
    assert cells == {cell: count for cell, count in expected.items() if count}
    assert figures["engines"][0]["top1"]["count"] == int((truth == best).sum())
    assert figures["engines"][0]["top5"] is None  # of three classes
    assert [of["label"] for of in figures["classes"]] == ["cat", "dog", "gnu"]
    assert len(figures["slowest"]) == 10
    assert "tiny/1 on 12 pictures" in evaluated.said


def test_what_cannot_be_read_is_listed_and_stops_nothing(store: Path, pictures: Path) -> None:
    """Exit code 1; files of other kinds and hidden ones are no pictures."""
    (pictures / "dog" / "broken.jpg").write_bytes(b"broken")
    (pictures / "dog" / "empty.png").touch()
    (pictures / "Cat" / "notes.txt").write_text("of the photographer")
    (pictures / "dog" / ".hidden.png").write_bytes(b"hidden")
    (pictures / ".cache").mkdir()

    evaluated = evaluate(store, pictures)

    unreadable = {Path(u["file"]).name: u["reason"] for u in evaluated.figures["unreadable"]}
    assert (evaluated.code, evaluated.figures["pictures"]) == (1, 12)
    assert sorted(unreadable) == ["broken.jpg", "empty.png"]
    assert "not an image" in unreadable["broken.jpg"]
    assert "2 files could not be evaluated" in evaluated.said
    assert "passed over 1 files that are no pictures by name: 1 .txt" in evaluated.said
    assert "broken.jpg" in evaluated.page


def test_engines_are_set_side_by_side(store: Path, pictures: Path) -> None:
    """Each with its agreement with eager, wherever that stands in the list."""

    def plan(model: LoadedModel, settings: Settings) -> EnginePlan:
        engine = StubEngine(model.manifest)
        return (
            plan_with_pictures(model, settings)
            if settings.engine == "eager"
            else EnginePlan(engine, engine)
        )

    evaluated = evaluate(store, pictures, "stub", "eager", plan=plan)

    stub, eager = evaluated.figures["engines"]
    best = sum(c["count"] for c in evaluated.figures["confusion"])
    assert (evaluated.figures["reference"], best) == ("eager", 12)
    assert (eager["agreement"], eager["largest_difference"]) == (None, None)
    assert stub["agreement"]["of"] == 12
    assert 0 < stub["largest_difference"] <= 1
    assert "as eager" in evaluated.said


def test_classes_come_from_a_file_where_names_differ(store: Path, pictures: Path) -> None:
    """Folders that are no labels are refused without it."""
    (pictures / "dog").rename(pictures / "n02084071")
    mapping = store.parent / "classes.csv"
    mapping.write_text("n02084071,dog\n")

    with pytest.raises(BadSetting, match="n02084071: no label 'n02084071'"):
        evaluate(store, pictures)

    assert evaluate(store, pictures, classes=mapping).figures["classes"][1]["count"] == EACH


def test_what_counts_for_no_class_is_told(store: Path, pictures: Path) -> None:
    """Pictures beside the folders, and folders of the mapping that are not there."""
    for name in ("b.png", "a.jpg", ".hidden.png", "notes.txt"):
        (pictures / name).touch()
    mapping = store.parent / "classes.csv"
    mapping.write_text("Cat,cat\nn1,dog\nn2,dog\nn3,dog\nn4,dog\nn5,dog\nn6,dog\n")

    evaluated = evaluate(store, pictures, classes=mapping)

    assert (evaluated.code, evaluated.figures["pictures"]) == (0, 12)
    assert f"passed over 2 pictures in no class's folder, e.g. {pictures}/a.jpg" in evaluated.said
    absent = "--classes has 6 folders that are not there: n1, n2, n3, n4, n5 and 1 more"
    assert absent in evaluated.said


@pytest.mark.parametrize("kind", ["absent", "file", "flat", "unreadable"])
def test_a_folder_that_cannot_be_evaluated_is_named(store: Path, pictures: Path, kind: str) -> None:
    """It is not there, holds no folders, or nothing in it is a picture."""
    flat = pictures / "GNU"
    shutil.rmtree(flat / "more")
    unreadable = pictures.parent / "unreadable"
    (unreadable / "cat").mkdir(parents=True)
    (unreadable / "cat" / "a.png").write_bytes(b"broken")
    folder, message = {
        "absent": (pictures / "absent", "absent cannot be listed: No such file"),
        "file": (flat / "1.png", "1.png cannot be listed: Not a directory"),
        "flat": (flat, "GNU holds no folder; one for each class is needed"),
        "unreadable": (unreadable, r"none of 1 files .* could be evaluated, e.g. .*cat/a.png: the"),
    }[kind]

    with pytest.raises(BadSetting, match=message):
        evaluate(store, folder)


def test_an_engine_that_fails_ends_it(store: Path, pictures: Path) -> None:
    """What it raised is said."""
    engine = FakeEngine(raises=range(256))

    with pytest.raises(EngineFailed, match="a poisonous row"):
        evaluate(store, pictures, plan=lambda *_: EnginePlan(engine, engine))


@pytest.mark.parametrize("flag", ["json", "html"])
def test_a_file_that_cannot_be_written_is_named_first(
    store: Path, pictures: Path, flag: str
) -> None:
    """Before anything is computed for it."""
    place = pictures / "absent" / "out"
    places = {"json": None, "html": None, flag: place}
    arguments = EvaluateArguments(pictures, json=places["json"], html=places["html"])

    with pytest.raises(BadSetting, match=f"--{flag} .*absent/out cannot be written: No such file"):
        run([Settings(model_store=store)], arguments, pytest.fail)


def test_figures_and_page_in_one_file_are_refused(store: Path, pictures: Path) -> None:
    """The page would take the place of the figures."""
    arguments = EvaluateArguments(pictures, json=pictures / "out", html=pictures / "." / "out")

    with pytest.raises(BadSetting, match="--json and --html are the same file"):
        run([Settings(model_store=store)], arguments, pytest.fail)


class _Loads(HTMLParser):
    """Collects what a page would fetch, and the scripts in it."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note one element."""
        self.tags.add(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_page_needs_nothing_else(store: Path, pictures: Path) -> None:
    """Its pictures are in it, as the model saw them; there is no script; names are escaped."""
    (pictures / "Cat" / "1.png").rename(pictures / "Cat" / "<script>alert(1)<!--.png")

    evaluated = evaluate(store, pictures)
    loads = _Loads()
    loads.feed(evaluated.page)

    wrong = evaluated.figures["wrong"]
    assert len(wrong) == 12 - evaluated.figures["engines"][0]["top1"]["count"]
    assert len(loads.sources) == len(wrong) > 0
    assert all(source.startswith("data:image/jpeg;base64,") for source in loads.sources)
    assert base64.b64decode(loads.sources[0].partition(",")[2]).startswith(b"\xff\xd8\xff")
    assert "script" not in loads.tags
    assert not re.search(r"https?://", evaluated.page)
