"""What a picture may be: how large a request's is, and how large and how coloured a model's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Channels = tuple[float, float, float]

IMAGENET_MEAN: Channels = (0.485, 0.456, 0.406)
IMAGENET_STD: Channels = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """The largest image to decode.

    Attributes:
        encoded_bytes: of its file.
        pixels: width times height.
        decoded_bytes: of memory that decoding it takes.
    """

    encoded_bytes: int
    pixels: int
    decoded_bytes: int = 288_000_000


class InputContract(BaseModel):
    """How a picture becomes the model's pixels.

    Attributes:
        size_px: side of the square the model sees.
        fit: `crop` scales the shorter side to `shorter_side_px` and cuts the centre out, as on
            ImageNet; `fit` keeps the whole picture and pads it to a square.
        shorter_side_px: with `crop` only.
        interpolation: how the picture is scaled; always antialiased.
        mean, std: per channel, of values in [0, 1]; applied inside the inference graph.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size_px: int = Field(ge=1, le=4096)
    fit: Literal["crop", "fit"]
    shorter_side_px: int | None = None
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    mean: Channels = IMAGENET_MEAN
    std: Channels = IMAGENET_STD

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.fit == "crop" and (self.shorter_side_px or 0) < self.size_px:
            raise ValueError(
                f"crop needs a shorter_side_px of at least size_px, {self.size_px}, "
                f"not {self.shorter_side_px}"
            )
        if self.fit == "fit" and self.shorter_side_px is not None:
            raise ValueError("shorter_side_px belongs to crop")
        if min(self.std) <= 0:
            raise ValueError(f"std is {self.std}, every channel must be above 0")
        return self
