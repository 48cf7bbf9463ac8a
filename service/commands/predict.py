"""`sge-serve predict`: classify files without a server."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from service.commands.contents import load_chosen
from service.commands.pictures.files import FileFinder, FoundFile, read_picture, shown
from service.commands.pictures.in_order import in_order
from service.commands.predicting.outcomes import (
    Classified,
    Document,
    Output,
    Rows,
    Table,
    classes_of,
    document_of,
)
from service.commands.predicting.overlays import OverlayFolder, require_apart
from service.commands.predicting.row_file import RowFile
from service.commands.predicting.row_format import CsvRows, JsonRows, RowFormat
from service.commands.predicting.row_shape import shape_asked
from service.commands.progress import progress_bar
from service.config import Settings
from service.engines.calibration import image_limits
from service.errors import BadRequest, EngineLost, ServiceError, Unavailable, UndecodableImage
from service.logs import configure_logs
from service.results.query import PredictQuery
from service.serving.decode_workers import Decoder
from service.serving.options import Options, read_options
from service.serving.pipeline import Result
from service.serving.runtime import Runtime, build_runtime, build_runtime_for_many
from service.store.load import StoreContents

Say = Callable[[str], None]

PATIENCE_S = 3600.0  # no deadline that anybody meets
_AHEAD = 3  # batches of pictures that are under way at one time


@dataclass(frozen=True, slots=True)
class PredictArguments:
    """What a person asks of the command.

    Attributes:
        files: files, folders and patterns, in this order.
        query: what is asked of each file.
        folder: where overlays go; None writes none.
        as_json: a JSON document instead of a table.
        csv: a file to which a row for each picture is added, instead; None adds none.
        jsonl: the same in lines of JSON.
    """

    files: tuple[Path, ...]
    query: PredictQuery
    folder: Path | None = None
    as_json: bool = False
    csv: Path | None = None
    jsonl: Path | None = None

    @property
    def rows(self) -> tuple[str, Path] | None:
        """The flag and the file of rows, where they are asked for."""
        if self.csv is not None:
            return "--csv", self.csv
        return None if self.jsonl is None else ("--jsonl", self.jsonl)

    @property
    def is_few(self) -> bool:
        """Whether every file is named, and nothing is taken up again."""
        return self.rows is None and all(path.is_file() for path in self.files)

    @property
    def overlays(self) -> OverlayFolder | None:
        """Where overlays go; side by side where files are few."""
        if self.folder is None:
            return None
        return OverlayFolder(self.folder, len(self.files) if self.is_few else None)

    @property
    def drawing_query(self) -> PredictQuery:
        """The query, which asks for overlays where there is a folder for them."""
        if self.folder is None:
            return self.query
        masks = self.query.masks or ("" if self.query.attribution else "last")
        return self.query.model_copy(update={"masks": masks, "mask_format": "overlay"})


def run(
    settings: Settings,
    arguments: PredictArguments,
    say: Say,
    decoder: Decoder | None = None,
    warn: Say | None = None,
) -> int:
    """Classify each file; one that cannot be answered does not stop the others.

    Args:
        settings: of the model and its engine.
        arguments: of the command.
        say: prints for whoever started it.
        decoder: turns files into pixels; None: processes do.
        warn: prints what is no answer; None: `say` does.

    Returns:
        0 when every file was answered, else 1.

    Raises:
        BadSetting: a setting cannot be met, a pattern matches nothing, or the folder of overlays or
            the file of rows cannot be written.
        StoreError: no model can be used.
        BadInput: the model, the blocks, the groups or the classes asked for do not exist.
        EngineFailed: the model's engine cannot run.
    """
    configure_logs("warning", "console")
    # Compiling takes longer than a few files do; who asks for it by name waits for it.
    engine = "eager" if settings.engine == "auto" else settings.engine
    settings = settings.model_copy(update={"engine": engine, "tiered": False})
    _require_place(arguments)
    if arguments.overlays is not None:
        arguments.overlays.prepare()
    query = arguments.query
    model = load_chosen(settings, query.model, query.version, warn or say)
    # A runtime brings up every model it has, and one is asked for.
    alone = StoreContents((model,), ())
    settings = settings.model_copy(update={"default_model": None})
    build = build_runtime if arguments.is_few else build_runtime_for_many
    runtime = build(settings, alone, decoder=decoder)
    return asyncio.run(Prediction(runtime, arguments, say, warn or say).run())


def _require_place(arguments: PredictArguments) -> None:
    """Refuse to draw what would be shown nowhere."""
    query = arguments.query
    if arguments.folder is not None:
        require_apart(arguments.folder, arguments.files)
    if arguments.csv is None or arguments.folder is not None:
        return
    if query.masks or query.attribution or query.input:
        raise BadRequest("--csv holds classes alone: add --save-masks DIR, or use --jsonl")


class Prediction:
    """One run of the command; lives on the event loop.

    Args:
        runtime: serves the one model that is asked.
        arguments: of the command.
        say: prints for whoever started it.
        warn: prints what is no answer.

    Raises:
        BadRequest: the model has no such blocks, groups or classes.
    """

    def __init__(self, runtime: Runtime, arguments: PredictArguments, say: Say, warn: Say) -> None:
        (self.model,) = runtime.models
        self._runtime = runtime
        self._arguments = arguments
        self._say = say
        self._warn = warn
        self._overlays = arguments.overlays
        self._limits = image_limits(runtime.settings)
        self._options: Options = read_options(arguments.drawing_query, self.model)
        self._finder = FileFinder(arguments.folder, arguments.csv, arguments.jsonl)
        self._failed = 0
        self._added = 0
        self._skipped = 0

    async def run(self) -> int:
        """Classify everything, and give the exit code."""
        with ExitStack() as stack:
            known, output = self._open(stack)
            try:
                await self.start()
                await self.add_all(known, output)
            finally:
                await self.stop()
        self._tell()
        return int(self._failed > 0)

    def _open(self, stack: ExitStack) -> tuple[set[str], Output]:
        """What takes the outcomes, and the files that it has already."""
        if self._arguments.rows is None:
            key = self.model.loaded.key
            return set(), Document(self._say, key) if self._arguments.as_json else Table(self._say)
        flag, path = self._arguments.rows
        rows = stack.enter_context(closing(RowFile.open(flag, path, self._form(), self._key)))
        return rows.known, Rows(rows)

    def _form(self) -> RowFormat:
        classes, has_maps = len(self.model.loaded.labels), self._overlays is None
        if self._arguments.csv is not None:
            return CsvRows(self._key, min(self._options.top_k, classes))
        shape = shape_asked(self._options, classes, has_maps=has_maps)
        return JsonRows(self._key, document_of if has_maps else classes_of, shape)

    @property
    def _key(self) -> str:
        return self.model.loaded.key

    async def start(self) -> None:
        """Bring up what decodes, and the engine.

        Raises:
            EngineFailed: it cannot run.
        """
        self._runtime.decoder.start()
        await self._runtime.models.start()

    async def stop(self) -> None:
        """Let the batch and the build under way end, and release what `start` took."""
        await self._runtime.models.stop(leaves_builds=False)
        self._runtime.workers.shutdown()
        self._runtime.decoder.stop()

    async def add_all(self, known: set[str], output: Output) -> None:
        """Classify every file but those that are known, in order."""
        limit = _AHEAD * self.model.max_batch
        with progress_bar(None if self._arguments.rows is None else self._find) as bar:
            found = self._unknown(known, bar)
            async for classified in in_order(self._classify, found, limit):
                output.add(classified)
                bar.update(len(classified))
                self._added += len(classified)
                self._failed += sum(isinstance(one.outcome, ServiceError) for one in classified)
        output.end()

    def _find(self) -> Iterator[FoundFile]:
        return self._finder.find(self._arguments.files)

    def _unknown(self, known: set[str], bar: tqdm[Any]) -> Iterator[tuple[int, FoundFile]]:
        """The files that have no row yet, each once, with their positions among all."""
        for position, found in enumerate(self._find(), 1):
            name = shown(found.path)
            if name in known:
                self._skipped += 1
                bar.update()
            else:
                if self._arguments.rows is not None:
                    known.add(name)
                yield position, found

    async def _classify(self, numbered: tuple[int, FoundFile]) -> Classified:
        position, found = numbered
        outcome = await self._outcome(found)
        if self._overlays is not None and isinstance(outcome, Result):
            loop = asyncio.get_running_loop()
            save = functools.partial(self._overlays.save, position, found.path, outcome)
            await loop.run_in_executor(self._runtime.workers, save)
        return Classified(found.path, outcome)

    async def _outcome(self, found: FoundFile) -> Result | ServiceError:
        """A file's result or its own error; what is the engine's matter ends the command."""
        if found.reason is not None:
            return UndecodableImage(found.reason)
        read = functools.partial(read_picture, found.path, self._limits)
        deadline = time.monotonic() + PATIENCE_S
        try:
            answer = await self._runtime.pipeline.answer(
                self.model, [read], self._options, deadline
            )
        except (EngineLost, Unavailable):
            raise
        except ServiceError as error:
            return error
        return answer.results[0]

    def _tell(self) -> None:
        if self._added + self._skipped == 0:
            self._warn(f"no picture was found in {', '.join(map(shown, self._arguments.files))}")
        if self._finder.others:
            self._warn(self._finder.describe_others())
        if self._arguments.rows is not None:
            _, path = self._arguments.rows
            self._warn(
                f"{shown(path)}: {self._added} rows added, {self._failed} of them errors; "
                f"{self._skipped} files had theirs"
            )
