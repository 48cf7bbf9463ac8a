"""What reads and decodes the pictures of an evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from service.commands.pictures.files import FoundFile
from service.commands.pictures.labelled import Labelled, PictureReader
from service.config import Settings
from service.engines.calibration import image_limits
from service.errors import UndecodableImage
from service.evaluation.tally import Picture
from service.images.contract import InputContract
from service.serving.decode_workers import DecodeHere
from tests.running import noise, png_of, tiny_model


class Remembering(DecodeHere):
    """Decodes here, and remembers what it was given; the first file fails.

    Args:
        settings: of the command.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(image_limits(settings))
        self.files: list[bytes] = []

    def decode(self, file: bytes, contract: InputContract) -> NDArray[np.uint8]:
        """Give (3, S, S) uint8."""
        self.files.append(file)
        if len(self.files) == 1:
            raise UndecodableImage("the first one fails")
        return super().decode(file, contract)


@pytest.mark.anyio
async def test_decoders_are_warm_before_they_are_timed(tmp_path: Path) -> None:
    """Else the first pictures would be the slowest, whatever they are; what fails is let be."""
    file = tmp_path / "a.png"
    file.write_bytes(png_of(noise(0)))
    settings = Settings(model_store=tmp_path, decode_workers=1)
    decoder = Remembering(settings)
    reader = PictureReader(settings, tiny_model(), decoder)

    async with reader.open():
        picture = await reader.read(Labelled(FoundFile(file), 2))

    assert isinstance(picture, Picture)
    assert (picture.file, picture.truth) == (str(file), 2)
    assert decoder.files.index(file.read_bytes()) == len(decoder.files) - 1 == 2
