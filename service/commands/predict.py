"""`sge-serve predict`: classify files without a server."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from service.commands.contents import load_contents
from service.config import Settings, keep_artefacts_in
from service.errors import ServiceError, UndecodableImage
from service.logs import configure_logs
from service.masks import MaskKind, MaskRequest, parse_blocks, parse_groups
from service.pipeline import Answer, Options
from service.runtime import Runtime, build_runtime
from service.served_model import ServedModel

Say = Callable[[str], None]

PATIENCE_S = 3600.0  # no deadline that anybody meets


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person asks of the command.

    Attributes:
        folder: where overlays go; None writes none.
        as_json: a JSON document instead of a table.
    """

    files: tuple[Path, ...]
    model: str | None
    version: str | None
    top_k: int
    masks: str
    groups: str
    mask_kind: MaskKind
    folder: Path | None
    as_json: bool


def run(settings: Settings, wanted: Wanted, say: Say) -> int:
    """Classify each file; one that cannot be answered does not stop the others.

    Returns:
        0 when every file was answered, else 1.

    Raises:
        BadSetting: a setting cannot be met.
        StoreError: no model can be used.
        BadInput: the model, the blocks or the groups asked for do not exist.
    """
    configure_logs("warning", "console")
    keep_artefacts_in(settings.cache_dir)
    # Compiling takes longer than a few files do; who asks for it by name waits for it.
    engine = "eager" if settings.engine == "auto" else settings.engine
    settings = settings.model_copy(update={"engine": engine, "tiered": False})
    runtime = build_runtime(settings, load_contents(settings, lambda _: None))
    return asyncio.run(_predict(runtime, wanted, say))


async def _predict(runtime: Runtime, wanted: Wanted, say: Say) -> int:
    model = runtime.models.find(wanted.model, wanted.version)
    options = _options_of(wanted, model)
    await runtime.models.start()
    try:
        results = [await _answer_file(runtime, model, file, options) for file in wanted.files]
    finally:
        await runtime.models.stop()
        runtime.workers.shutdown()
    for result in results:
        if wanted.folder is not None and isinstance(result.outcome, Answer):
            _save_overlays(wanted.folder, result.file, result.outcome)
    if wanted.as_json:
        document = {"model": model.bundle.key, "results": [result.as_json() for result in results]}
        say(orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY).decode())
    else:
        for result in results:
            say(_table(result))
    return int(any(isinstance(result.outcome, ServiceError) for result in results))


@dataclass(frozen=True, slots=True)
class _Result:
    file: Path
    outcome: Answer | ServiceError

    def as_json(self) -> dict[str, Any]:
        if isinstance(self.outcome, ServiceError):
            error = {"code": self.outcome.code, "message": self.outcome.message}
            return {"file": str(self.file), "error": error}
        answer = {"predictions": self.outcome.predictions, "masks": self.outcome.masks}
        return {"file": str(self.file), **answer}


async def _answer_file(
    runtime: Runtime, model: ServedModel, file: Path, options: Options
) -> _Result:
    try:
        content = await asyncio.to_thread(file.read_bytes)
        deadline = time.monotonic() + PATIENCE_S
        answered = await runtime.pipeline.answer(model, [content], options, deadline)
    except OSError as error:
        return _Result(file, UndecodableImage(f"cannot be read: {error.strerror}"))
    except ServiceError as error:
        return _Result(file, error)
    return _Result(file, answered.answers[0])


def _options_of(wanted: Wanted, model: ServedModel) -> Options:
    masks = wanted.masks or ("last" if wanted.folder else "")
    request = MaskRequest(
        blocks=parse_blocks(masks, model.blocks),
        groups=parse_groups(wanted.groups, model.bundle.manifest.groups),
        kind=wanted.mask_kind,
        format="overlay" if wanted.folder else "json",
    )
    return Options(wanted.top_k, request)


def _save_overlays(folder: Path, file: Path, answer: Answer) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for mask in answer.masks:
        images: Any = mask["images"]
        groups: Any = mask["groups"]
        names = [groups] if isinstance(groups, str) else [f"group{group}" for group in groups]
        for name, image in zip(names, images, strict=True):
            target = folder / f"{file.stem}_{mask['block']}_{mask['kind']}_{name}.png"
            target.write_bytes(base64.b64decode(image))


def _table(result: _Result) -> str:
    if isinstance(result.outcome, ServiceError):
        return f"{result.file}\n  error: {result.outcome.message}"
    lines = [str(result.file)]
    lines += [f"  {p.score:7.2%}  {p.label}" for p in result.outcome.predictions]
    for mask in result.outcome.masks:
        drawn = mask.get("images", mask.get("data"))
        count = len(drawn) if isinstance(drawn, list) else len(mask["groups"])  # type: ignore[arg-type]
        lines.append(f"  masks of {mask['block']}: {count} of {mask['height']} x {mask['width']}")
    return "\n".join(lines)
