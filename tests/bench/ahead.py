"""Engines that `sge-serve compile` builds while a bench builds what only it can."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path

import numpy as np
from PIL import Image

from service.config import EngineName
from service.engines.background_build import Build
from service.errors import EngineFailed

CALIBRATION_IMAGES = 32


Kind = tuple[EngineName, str]
"""An engine and its precision."""


class BuildAhead:
    """A build that somebody else does; an engine that needs its files waits for it."""

    def __init__(self) -> None:
        self._done: Future[None] = Future()

    def __call__(self, _: Path) -> None:
        """Wait until the folder is filled.

        Raises:
            EngineFailed: the process that compiles failed.
            OSError: it could not be started.
        """
        self._done.result()

    def wait(self) -> None:
        """Wait until it has come to its end, whatever that is."""
        self._done.exception()

    def do(self, build: Build, cache_dir: Path) -> None:
        """Fill the folder."""
        failure: Exception | None = EngineFailed("the build came to no end")
        try:
            build(cache_dir)
            failure = None
        except (EngineFailed, OSError) as error:
            failure = error
        finally:  # whatever it was, nobody waits for ever
            if failure is None:
                self._done.set_result(None)
            else:
                self._done.set_exception(failure)


def build_ahead(builds: Mapping[Kind, Build], cache_dir: Path) -> dict[Kind, BuildAhead]:
    """Begin to build, one after another, on a thread that does not hold up the process's end.

    Args:
        builds: each in a process of its own, which ends with this one.
        cache_dir: the folder that they fill.
    """
    ahead = {kind: BuildAhead() for kind in builds}

    def work() -> None:
        for kind, build in builds.items():
            ahead[kind].do(build, cache_dir)

    threading.Thread(target=work, name="builds ahead", daemon=True).start()
    return ahead


def write_noise(folder: Path, side_px: int) -> Path:
    """Fill a folder with pictures of noise, the same each time, by which int8 is calibrated.

    Noise is also what engines are measured on.

    Args:
        folder: is made.
        side_px: of the pictures.
    """
    folder.mkdir()
    rng = np.random.default_rng(CALIBRATION_IMAGES)
    for index in range(CALIBRATION_IMAGES):
        pixels = rng.integers(0, 256, (side_px, side_px, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:02}.bmp")
    return folder
