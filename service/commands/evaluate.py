"""`sge-serve evaluate`: how right a model is on a folder of pictures for each class."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import orjson

from service.commands.contents import load_chosen
from service.commands.evaluation_text import describe
from service.commands.pictures.files import FileFinder, shown
from service.commands.pictures.in_order import in_order
from service.commands.pictures.labelled import (
    Labelled,
    PictureReader,
    classes_of,
    describe_unused,
    labelled_files,
)
from service.commands.progress import progress_bar
from service.commands.whole_file import require_different, require_writable, write_whole
from service.config import Settings
from service.engines.calibration import plan_with_pictures
from service.engines.plan import EnginePlan
from service.errors import BadSetting
from service.evaluation.page import render
from service.evaluation.report import EngineSpeed, build_report
from service.evaluation.tally import Picture, Tally, Unreadable
from service.logs import configure_logs
from service.serving.decode_workers import Decoder
from service.serving.side_by_side import EngineRun, SideBySide
from service.store.load import LoadedModel

Say = Callable[[str], None]
Plan = Callable[[LoadedModel, Settings], EnginePlan]

REFERENCE = "eager"
_AHEAD = 3  # batches that are decoded or being decoded before their turn


@dataclass(frozen=True, slots=True)
class EvaluateArguments:
    """What a person asks of the command.

    Attributes:
        folder: holds a folder of pictures for each class.
        model: its name; None takes the default one.
        version: of it; None takes the latest.
        classes: a file that says which class a folder is.
        json: where the figures go as JSON; None writes none.
        html: where the page goes; None writes none.
    """

    folder: Path
    model: str | None = None
    version: str | None = None
    classes: Path | None = None
    json: Path | None = None
    html: Path | None = None

    @property
    def files(self) -> dict[str, Path]:
        """What is written, by its flag."""
        asked = {"--json": self.json, "--html": self.html}
        return {flag: file for flag, file in asked.items() if file is not None}


def run(
    settings: Sequence[Settings],
    arguments: EvaluateArguments,
    say: Say,
    plan: Plan = plan_with_pictures,
    decoder: Decoder | None = None,
    *,
    warn: Say = lambda _: None,
) -> int:
    """Evaluate a model on a folder.

    Args:
        settings: of each engine to evaluate; they differ in it and in the precision.
        arguments: of the command.
        say: prints for whoever started it.
        plan: chooses a model's engine; the final one is evaluated.
        decoder: turns files into pixels; None: processes do.
        warn: prints what is not part of the answer.

    Returns:
        0 when every file was evaluated, else 1.

    Raises:
        BadSetting: the folder's folders are not the model's classes, nothing in it is a picture, a
            file cannot be read or written, or a setting cannot be met.
        StoreError: no model can be used.
        BadInput: there is no such model.
        EngineFailed: an engine cannot run, or failed on pictures.
    """
    configure_logs("warning", "console")
    for flag, file in arguments.files.items():
        require_writable(flag, file)
    require_different(arguments.files)
    model = load_chosen(settings[0], arguments.model, arguments.version, warn)
    classes = classes_of(arguments.folder, arguments.classes, model.labels)
    for line in describe_unused(arguments.folder, arguments.classes):
        say(line)
    engines = [plan(model, of_engine).final for of_engine in settings]
    names = [of_engine.engine for of_engine in settings]
    tally = Tally(names, names.index(REFERENCE) if REFERENCE in names else 0)
    compared = SideBySide(engines, model.manifest.input.size_px, settings[0].max_batch)
    finder = FileFinder()
    files = partial(labelled_files, finder, arguments.folder, classes)
    reader = PictureReader(settings[0], model, decoder)
    asyncio.run(_evaluate(compared, reader, files, tally))
    if finder.others:
        say(finder.describe_others())
    return _tell(arguments, model, tally, compared.runs, say)


async def _evaluate(
    compared: SideBySide,
    reader: PictureReader,
    files: Callable[[], Iterator[Labelled]],
    tally: Tally,
) -> None:
    async with reader.open():
        try:
            await compared.start()
            await _add_all(compared, reader, files, tally)
        finally:
            await compared.stop()


async def _add_all(
    compared: SideBySide,
    reader: PictureReader,
    files: Callable[[], Iterator[Labelled]],
    tally: Tally,
) -> None:
    size, waiting = compared.batch, list[Picture]()
    with progress_bar(files) as bar:
        async for outcomes in in_order(reader.read, files(), _AHEAD * size):
            bar.update(len(outcomes))
            tally.unreadable += [one for one in outcomes if isinstance(one, Unreadable)]
            waiting += [one for one in outcomes if isinstance(one, Picture)]
            while len(waiting) >= size:
                await _run(compared, tally, waiting[:size])
                del waiting[:size]
    if waiting:
        await _run(compared, tally, waiting)


async def _run(compared: SideBySide, tally: Tally, batch: list[Picture]) -> None:
    tally.add(batch, await compared.logits([picture.pixels for picture in batch]))


def _tell(
    arguments: EvaluateArguments,
    model: LoadedModel,
    tally: Tally,
    runs: Sequence[EngineRun],
    say: Say,
) -> int:
    if not tally.count:
        first = "".join(f", e.g. {one.file}: {one.reason}" for one in tally.unreadable[:1])
        raise BadSetting(
            f"none of {len(tally.unreadable)} files in {shown(arguments.folder)} could be "
            f"evaluated{first}"
        )
    speeds = [_speed(run) for run in runs]
    report = build_report(model.key, shown(arguments.folder), model.labels, tally, speeds)
    say(describe(report))
    if arguments.json is not None:
        write_whole("--json", arguments.json, orjson.dumps(report, option=orjson.OPT_INDENT_2))
    if arguments.html is not None:
        page = render(report, [pixels for _, pixels in tally.wrong()])
        write_whole("--html", arguments.html, page.encode())
    return int(bool(tally.unreadable))


def _speed(run: EngineRun) -> EngineSpeed:
    told = run.engine.description
    speed = round(run.images_per_s, 2)
    return EngineSpeed(told.name, told.precision, told.device, run.batch, speed)
