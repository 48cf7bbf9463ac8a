"""`sge-serve predict`: classify files without a server."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from service.api.map_document import attribution_document, mask_document
from service.commands.contents import load_contents
from service.config import Settings
from service.errors import BadSetting, ServiceError, UndecodableImage
from service.logs import configure_logs
from service.results.query import PredictQuery
from service.serving.choice import choose_default, choose_model
from service.serving.pipeline import Options, Result, read_options
from service.serving.runtime import Runtime, build_runtime
from service.serving.served_model import ServedModel
from service.store.load import StoreContents

Say = Callable[[str], None]

PATIENCE_S = 3600.0  # no deadline that anybody meets


@dataclass(frozen=True, slots=True)
class PredictArguments:
    """What a person asks of the command.

    Attributes:
        files: to be classified, in this order.
        query: what is asked of each.
        folder: where overlays go; None writes none.
        as_json: a JSON document instead of a table.
    """

    files: tuple[Path, ...]
    query: PredictQuery
    folder: Path | None
    as_json: bool


def run(settings: Settings, arguments: PredictArguments, say: Say) -> int:
    """Classify each file; one that cannot be answered does not stop the others.

    Returns:
        0 when every file was answered, else 1.

    Raises:
        BadSetting: a setting cannot be met, or the folder of overlays cannot be written.
        StoreError: no model can be used.
        BadInput: the model, the blocks or the groups asked for do not exist.
        EngineFailed: the model's engine cannot run.
    """
    configure_logs("warning", "console")
    # Compiling takes longer than a few files do; who asks for it by name waits for it.
    engine = "eager" if settings.engine == "auto" else settings.engine
    settings = settings.model_copy(update={"engine": engine, "tiered": False})
    if arguments.folder is not None:
        _make_folder(arguments.folder)
    contents, query = load_contents(settings, lambda _: None), arguments.query
    default = choose_default(contents.models, settings.default_model)
    model = choose_model(contents.models, default, query.model, query.version)
    # A runtime brings up every model it has, and one is asked for.
    alone = StoreContents((model,), ())
    runtime = build_runtime(settings.model_copy(update={"default_model": None}), alone)
    return asyncio.run(_predict(runtime, arguments, say))


async def _predict(runtime: Runtime, arguments: PredictArguments, say: Say) -> int:
    (model,) = runtime.models
    options = read_options(_query_of(arguments), model)
    runtime.decoder.start()
    await runtime.models.start()
    try:
        classified = [await _classify(runtime, model, file, options) for file in arguments.files]
    finally:
        await runtime.models.stop()
        runtime.workers.shutdown()
        runtime.decoder.stop()
    if arguments.folder is not None:
        _save_overlays(arguments.folder, classified)
    if arguments.as_json:
        results = [file.document() for file in classified]
        document = {"model": model.loaded.key, "results": results}
        say(orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY).decode())
    else:
        for file in classified:
            say(_table(file))
    return int(any(isinstance(file.outcome, ServiceError) for file in classified))


@dataclass(frozen=True, slots=True)
class _Classified:
    file: Path
    outcome: Result | ServiceError

    def document(self) -> dict[str, Any]:
        if isinstance(self.outcome, ServiceError):
            error = {"code": self.outcome.code, "message": self.outcome.message}
            return {"file": str(self.file), "error": error}
        masks = [mask_document(mask) for mask in self.outcome.masks]
        document: dict[str, Any] = {
            "file": str(self.file),
            "predictions": self.outcome.predictions,
            "masks": masks,
        }
        if self.outcome.attribution is not None:
            document["attribution"] = attribution_document(self.outcome.attribution)
        return document


async def _classify(
    runtime: Runtime, model: ServedModel, file: Path, options: Options
) -> _Classified:
    try:
        content = await asyncio.to_thread(file.read_bytes)
        deadline = time.monotonic() + PATIENCE_S
        answer = await runtime.pipeline.answer(model, [content], options, deadline)
    except OSError as error:
        return _Classified(file, UndecodableImage(f"cannot be read: {error.strerror}"))
    except ServiceError as error:
        return _Classified(file, error)
    return _Classified(file, answer.results[0])


def _query_of(arguments: PredictArguments) -> PredictQuery:
    if arguments.folder is None:
        return arguments.query
    overlays = {"masks": arguments.query.masks or "last", "mask_format": "overlay"}
    return arguments.query.model_copy(update=overlays)


def _make_folder(folder: Path) -> None:
    """Make the folder of overlays, before anything is computed for it."""
    with _telling(folder):
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()


@contextlib.contextmanager
def _telling(folder: Path) -> Iterator[None]:
    """Say of which folder it is that something cannot be written."""
    try:
        yield
    except OSError as error:
        message = f"--save-masks {folder} cannot be written: {error.strerror or error}"
        raise BadSetting(message) from error


def _save_overlays(folder: Path, classified: Sequence[_Classified]) -> None:
    """Write every overlay; the file's position distinguishes files of one name."""
    digits = len(str(len(classified)))
    for position, one in enumerate(classified, 1):
        if isinstance(one.outcome, Result):
            for name, image in _overlays_of(one.outcome):
                target = folder / f"{position:0{digits}}_{one.file.stem}_{name}.png"
                with _telling(folder):
                    target.write_bytes(image)


def _overlays_of(result: Result) -> Iterator[tuple[str, bytes]]:
    """Each overlay, and of which block, kind and group it is."""
    for mask in result.masks:
        is_mean = mask.groups == "mean"
        names = ["mean"] if is_mean else [f"group{group}" for group in mask.groups]
        for name, picture in zip(names, mask.pictures, strict=True):
            yield f"{mask.block}_{mask.kind}_{name}", picture


def _table(classified: _Classified) -> str:
    if isinstance(classified.outcome, ServiceError):
        return f"{classified.file}\n  error: {classified.outcome.message}"
    lines = [str(classified.file)]
    lines += [f"  {p.score:7.2%}  {p.label}" for p in classified.outcome.predictions]
    for mask in classified.outcome.masks:
        count, height, width = mask.numbers.shape
        lines.append(f"  masks of {mask.block}: {count} of {height} x {width}")
    return "\n".join(lines)
