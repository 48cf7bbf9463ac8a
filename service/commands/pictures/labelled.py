"""Pictures in a folder for each class: which they are, and their pixels."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from service.commands.pictures.files import (
    FileFinder,
    FoundFile,
    is_picture_by_name,
    read_picture,
    shown,
)
from service.config import Settings
from service.engines.calibration import image_limits
from service.errors import BadInput, BadSetting, ServiceError
from service.evaluation.classes import match_folders, read_mapping
from service.evaluation.tally import Picture, Unreadable
from service.serving.decode_workers import Decoder, MemoryBudget
from service.serving.runtime import build_decoders, count_workers
from service.store.files import read_file
from service.store.load import LoadedModel

_NAMED = 5  # of the folders that are not there
_USUAL = ("JPEG", "PNG")


@dataclass(frozen=True, slots=True)
class Labelled:
    """A file, and the class of its folder."""

    found: FoundFile
    truth: int


def classes_of(folder: Path, mapping: Path | None, labels: Sequence[str]) -> dict[str, int]:
    """Find the folders of a folder by name, and their classes.

    Args:
        folder: holds a folder of pictures for each class.
        mapping: a file that says which class a folder is, where names do not.
        labels: of the model.

    Raises:
        BadSetting: it cannot be listed, holds no folders, or some of them are no classes.
        MissingFile: the mapping cannot be read.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        reason = error.strerror or error
        raise BadSetting(f"{shown(folder)} cannot be listed: {reason}") from error
    folders = [path.name for path in entries if path.is_dir() and not path.name.startswith(".")]
    if not folders:
        raise BadSetting(f"{shown(folder)} holds no folder; one for each class is needed")
    return match_folders(folders, labels, _mapped_by(mapping))


def describe_unused(folder: Path, mapping: Path | None) -> list[str]:
    """Say in lines what of a folder and its mapping counts for no class, if there is such.

    Args:
        folder: of which `classes_of` knows the classes.
        mapping: as there.
    """
    entries = sorted(folder.iterdir())
    flat = [
        path
        for path in entries
        if is_picture_by_name(path) and not path.name.startswith(".") and not path.is_dir()
    ]
    lines = []
    if flat:
        first = shown(flat[0])
        lines.append(f"passed over {len(flat)} pictures in no class's folder, e.g. {first}")
    names = {path.name for path in entries if path.is_dir()}
    absent = [name for name in _mapped_by(mapping) if name not in names]
    if absent:
        named = ", ".join(shown(Path(name)) for name in absent[:_NAMED])
        more = f" and {len(absent) - _NAMED} more" if len(absent) > _NAMED else ""
        lines.append(f"--classes has {len(absent)} folders that are not there: {named}{more}")
    return lines


def _mapped_by(mapping: Path | None) -> dict[str, str | int]:
    return {} if mapping is None else read_mapping(mapping.name, read_file(mapping))


def labelled_files(
    finder: FileFinder, folder: Path, classes: Mapping[str, int]
) -> Iterator[Labelled]:
    """Find the files of each class's folder, one after another; a folder in two is the first's."""
    finder.forget()
    truths = {folder / name: truth for name, truth in classes.items()}
    for place, truth in truths.items():
        for found in finder.find_more(place):
            yield Labelled(found, truth)


class PictureReader:
    """Reads and decodes files, on threads of its own while it is open."""

    def __init__(self, settings: Settings, model: LoadedModel, decoder: Decoder | None) -> None:
        budget = MemoryBudget(settings.decoded_limit_bytes)
        self._decoder = decoder or build_decoders(settings, budget)
        self._contract = model.manifest.input
        self._limits = image_limits(settings)
        self._count = count_workers(settings)
        self._threads = ThreadPoolExecutor(self._count, "reader")

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Start what decodes, and stop it at the end.

        Each thread first has small pictures decoded: the time of one that is asked for holds no
        start of a process, nor the first use of a usual format.
        """
        self._decoder.start()
        try:
            for _ in range(self._count):
                self._threads.submit(self._warm_up)
            yield
        finally:
            self._decoder.stop()
            self._threads.shutdown()

    async def read(self, labelled: Labelled) -> Picture | Unreadable:
        """Give a file's pixels, or why there are none."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, labelled)

    def _warm_up(self) -> None:
        for kind in _USUAL:
            with suppress(ServiceError, OSError):  # the pictures tell what is wrong
                self._decoder.decode(_small_picture(kind), self._contract)

    def _read(self, labelled: Labelled) -> Picture | Unreadable:
        found, began = labelled.found, time.perf_counter()
        if found.reason is not None:
            return Unreadable(shown(found.path), found.reason)
        try:
            content = read_picture(found.path, self._limits)
            pixels = self._decoder.decode(content, self._contract)
        except BadInput as error:
            return Unreadable(shown(found.path), error.message)
        return Picture(shown(found.path), labelled.truth, pixels, time.perf_counter() - began)


def _small_picture(kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, kind)
    return file.getvalue()
