"""Pictures by which an engine is calibrated: a folder, seen as a request's images would be.

B: batch.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from service.config import Settings
from service.engines.plan import EnginePlan, plan_engines
from service.errors import BadInput, BadSetting
from service.images.contract import ImageLimits, InputContract
from service.images.decode import decode
from service.images.preprocess import preprocess
from service.store.load import LoadedModel

log = structlog.stdlib.get_logger(__name__)

MOST_PICTURES = 256  # ranges hardly widen beyond some hundred


class CalibrationPictures:
    """Files that are decoded when an engine is built.

    Args:
        files: pictures, in the order that counts.
        limits: of each.
    """

    def __init__(self, files: Sequence[Path], limits: ImageLimits) -> None:
        self.files = files
        self.limits = limits

    @functools.cached_property
    def digest(self) -> str:
        """Stands for the content of the files; their names do not count.

        Raises:
            BadSetting: a file cannot be read.
        """
        whole = hashlib.sha256()
        for path in self.files:
            try:
                with path.open("rb") as file:
                    whole.update(hashlib.file_digest(file, "sha256").digest())
            except OSError as error:
                raise BadSetting(f"SGE_CALIBRATION_DIR: {error}") from error
        return whole.hexdigest()

    def pixels(self, contract: InputContract) -> NDArray[np.uint8]:
        """Decode and preprocess: (B, 3, h, w) uint8, RGB; what is no picture is left out.

        Raises:
            BadSetting: none is a picture.
        """
        rows = list(self._rows(contract))
        if not rows:
            raise BadSetting(
                f"SGE_CALIBRATION_DIR: none of {len(self.files)} files is a picture, e.g. "
                f"{self.files[0]}"
            )
        return np.stack(rows)

    def _rows(self, contract: InputContract) -> Iterator[NDArray[np.uint8]]:
        for path in self.files:
            try:
                yield preprocess(decode(path.read_bytes(), self.limits, contract), contract)
            except (BadInput, OSError) as error:
                log.warning("not used for calibration", file=str(path), reason=str(error))


def calibration_pictures(settings: Settings) -> CalibrationPictures | None:
    """Files of the calibration folder and the folders in it; None where no folder is set.

    Of many they are spread evenly over the sorted paths, so that each kind of picture has its
    share, whether kinds are folders or parts of names. Names that begin with a dot do not count.

    Raises:
        BadSetting: the folder is not there, or is empty.
    """
    folder = settings.calibration_dir
    if folder is None:
        return None
    if not folder.is_dir():
        raise BadSetting(f"SGE_CALIBRATION_DIR={folder} is no folder")
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not files:
        raise BadSetting(f"SGE_CALIBRATION_DIR={folder} is empty")
    limits = image_limits(settings)
    count = min(len(files), MOST_PICTURES)
    return CalibrationPictures([files[i * len(files) // count] for i in range(count)], limits)


def image_limits(settings: Settings) -> ImageLimits:
    """The largest image to decode, as the operator decided."""
    return ImageLimits(
        settings.image_limit_bytes, settings.pixel_limit, settings.decoded_limit_bytes
    )


def plan_with_pictures(
    model: LoadedModel, settings: Settings, *, in_background: bool = False
) -> EnginePlan:
    """Choose a model's engines; the one that needs pictures gets those of the settings.

    Args:
        model: the model.
        settings: what the operator decided.
        in_background: compile in a process of its own, which finds the model in the store.

    Raises:
        BadSetting: as `plan_engines` and `calibration_pictures` say.
    """
    pictures = calibration_pictures(settings) if settings.engine == "int8" else None
    return plan_engines(model, settings, pictures, in_background=in_background)
