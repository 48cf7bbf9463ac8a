"""Who says what of an imported model's input and classes: a person, the file, those beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.commands.importing.request import ImportRequest
from service.errors import BadManifest
from service.model.foreign.leaves import as_mapping, entries_named
from service.store.files import read_file
from service.store.found_input import of_timm, of_torchvision, of_transformers
from service.store.labels import LABEL_NAMES
from service.store.preprocessing import Preprocessing, resolve_input

CONFIG_FILE = "config.json"
PREPROCESSOR_FILE = "preprocessor_config.json"
IN_CHECKPOINT = "in the checkpoint"  # how every origin there ends, after the name of the entry
CONFIG_LIMIT_BYTES = 10_000_000

_TIMM = ("pretrained_cfg", "default_cfg")
_ARGUMENTS = ("args", "hyper_parameters", "hparams", "config", "cfg", "opt")


@dataclass(frozen=True, slots=True)
class Sources:
    """All that may say something.

    Attributes:
        content: what the checkpoint holds.
        beside: the JSON files in its folder, by their names.
        sha256: of the checkpoint.
    """

    content: Mapping[Any, Any]
    beside: Mapping[str, Mapping[str, Any]]
    sha256: str


def files_beside(file: Path) -> dict[str, Mapping[str, Any]]:
    """The files of timm and transformers beside a checkpoint; what is no JSON says nothing."""
    found = {}
    for name in (CONFIG_FILE, PREPROCESSOR_FILE):
        path = file.with_name(name)
        if not path.is_file() or path.stat().st_size > CONFIG_LIMIT_BYTES:
            continue
        try:
            held = json.loads(read_file(path))
        except (ValueError, RecursionError):
            continue
        if isinstance(held, Mapping):
            found[name] = held
    return found


def said_of_input(request: ImportRequest, sources: Sources) -> list[Preprocessing]:
    """What is said of the input, whose word counts first: the person's.

    Raises:
        BadManifest: somebody asks for what cannot be served.
    """
    is_cropped = request.shorter_side_px is not None or request.crop_fraction is not None
    asked = Preprocessing(
        "as asked for",
        size_px=request.size_px,
        shorter_side_px=request.shorter_side_px,
        crop_fraction=request.crop_fraction,
        fit=request.fit or ("crop" if is_cropped else None),
        interpolation=request.interpolation,
        mean=request.mean,
        std=request.std,
    )
    return [asked, *_said_by_files(sources)]


def _said_by_files(sources: Sources) -> Iterator[Preprocessing]:
    for path, value in entries_named(sources.content, _TIMM):
        if isinstance(value, Mapping):
            yield of_timm(value, f"{path} {IN_CHECKPOINT}")
    config = sources.beside.get(CONFIG_FILE, {})
    if isinstance(config.get("pretrained_cfg"), Mapping):
        yield of_timm(config["pretrained_cfg"], f"pretrained_cfg in {CONFIG_FILE}")
    elif "mean" in config and "input_size" in config:
        yield of_timm(config, CONFIG_FILE)
    if PREPROCESSOR_FILE in sources.beside:
        yield of_transformers(sources.beside[PREPROCESSOR_FILE], PREPROCESSOR_FILE)
    for path, value in entries_named(sources.content, _ARGUMENTS):
        entries = as_mapping(value)
        if entries is not None:
            yield _of_arguments(entries, f"{path} {IN_CHECKPOINT}")
    known = of_torchvision(sources.sha256)
    if known is not None:
        yield known


def _of_arguments(entries: Mapping[Any, Any], origin: str) -> Preprocessing:
    """What a training script's arguments say. Their names are anybody's: nonsense means nothing."""
    try:
        said = of_timm(entries, origin)
        resolve_input([said], "imagenet")
    except BadManifest as error:
        return Preprocessing(origin, passed_over=error.message)
    return said


def found_labels(sources: Sources) -> Iterator[tuple[str, Any]]:
    """Everything that may name the classes, the checkpoint's own first."""
    for path, value in entries_named(sources.content, LABEL_NAMES):
        yield f"{path} {IN_CHECKPOINT}", value
    config = sources.beside.get(CONFIG_FILE, {})
    for path, value in entries_named(config, LABEL_NAMES):
        yield f"{path} in {CONFIG_FILE}", value
