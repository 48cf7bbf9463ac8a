"""Fashion-MNIST and the pictures made of it: for training, and for the measurement.

B: batch, N: images of a split, r: side of a training frame in pixels.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

DATASET = Path("/usr/share/datasets/fashion-mnist")  # Debian package dataset-fashion-mnist
LABELS = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

CANVAS_SIZE = (200, 260)  # width, height
GARMENT_PX = 140  # side of the data set's whole image on the canvas
CLOSEST_TO_CENTRE_PX = 30  # of the garment's centre, on the canvas' longer axis
GARMENT_LEVEL = 32  # grey values above it belong to the garment, the ground of the data set is 0


@dataclass(frozen=True, slots=True)
class Split:
    """Images (N, 28, 28) uint8, garment light on black, and labels (N,) int64."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True, slots=True)
class Frames:
    """How training frames look.

    Attributes:
        side_px: their side.
        smallest: how small of them a posted garment may get.
        liberty: how far the others leave the data set. 1: moved by up to two of 28 pixels, scaled
            by up to 7 %, half of them mirrored. 0: as they are.
    """

    side_px: int
    smallest: float
    liberty: float = 1.0


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as somebody might post it.

    Attributes:
        png: the file.
        label: index of the garment's class.
        garment: (H, W) bool, where the garment is.
    """

    png: bytes
    label: int
    garment: NDArray[np.bool_]


def read_split(name: str) -> Split:
    """Read `train` or `t10k` from the IDX files."""
    with gzip.open(DATASET / f"{name}-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(DATASET / f"{name}-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    return Split(torch.from_numpy(images.copy()), torch.from_numpy(labels.astype(np.int64)))


def pictures_as_they_are(split: Split) -> Iterator[Picture]:
    """Every image of a split as a grey PNG of 28 x 28 pixels."""
    for image, label in zip(split.images.numpy(), split.labels.tolist(), strict=True):
        yield Picture(_png(Image.fromarray(image)), label, image > GARMENT_LEVEL)


def pictures_on_canvas(split: Split) -> Iterator[Picture]:
    """Every image inverted, enlarged and placed off-centre on a white canvas.

    The place follows from the image's number alone, so that every measurement sees the same.
    """
    width, height = CANVAS_SIZE
    for number, (image, label) in enumerate(
        zip(split.images.numpy(), split.labels.tolist(), strict=True)
    ):
        chance = np.random.default_rng(number)
        left = int(chance.integers(0, width - GARMENT_PX, endpoint=True))
        room = (height - GARMENT_PX) // 2 - CLOSEST_TO_CENTRE_PX
        edge = int(chance.integers(0, room, endpoint=True))
        top = edge if chance.integers(2) else height - GARMENT_PX - edge
        enlarged = Image.fromarray(image).resize((GARMENT_PX, GARMENT_PX), Image.Resampling.BICUBIC)
        grey = np.zeros((height, width), np.uint8)
        grey[top : top + GARMENT_PX, left : left + GARMENT_PX] = np.asarray(enlarged)
        yield Picture(_png(Image.fromarray(255 - grey)), label, grey > GARMENT_LEVEL)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def augment(images: Tensor, posted: Tensor, frames: Frames, generator: torch.Generator) -> Tensor:
    """Place garments in frames, nearly as they are or as people might post them.

    Args:
        images: (B, 28, 28) uint8.
        posted: (B,) bool, which of them get any size, place, light and colour.
        frames: how they look.
        generator: the source of every random number.

    Returns:
        (B, 3, r, r) float32 in [0, 1], RGB, channels last.
    """
    values = images.unsqueeze(1).float() / 255  # (B, 1, 28, 28)
    placed = _place(values, posted, frames, generator)  # (B, 1, r, r)
    return _tone(placed, posted, generator).contiguous(memory_format=torch.channels_last)


def _uniform(batch: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """Draw (B,) numbers from [low, high)."""
    return torch.rand(batch, generator=generator) * (high - low) + low


def _place(values: Tensor, posted: Tensor, frames: Frames, generator: torch.Generator) -> Tensor:
    """Scale, turn, flip and move each garment within its frame: (B, 1, r, r)."""
    batch = len(values)
    largest = 1.1 if frames.smallest > 0.6 else 1.0
    scale = torch.where(
        posted,
        _uniform(batch, frames.smallest, largest, generator),
        _uniform(batch, 1 - 0.07 * frames.liberty, 1 + 0.07 * frames.liberty, generator),
    )
    liberty = torch.where(posted, 1.0, frames.liberty)
    stretch = torch.where(posted, _uniform(batch, 0.87, 1.15, generator), torch.ones(batch)).sqrt()
    angle = torch.where(posted, _uniform(batch, -0.2, 0.2, generator), torch.zeros(batch))
    flip = torch.where(_uniform(batch, 0, 1, generator) < 0.5 * liberty, -1.0, 1.0)
    # A garment may move until it touches the edge, and always by two of 28 pixels.
    room = (1 - scale).clamp(min=0) + 2 / 28 * liberty
    shift = (torch.rand(batch, 2, generator=generator) * 2 - 1) * room.unsqueeze(1)
    cosine, sine = angle.cos() / scale, angle.sin() / scale
    rotation = torch.stack(
        [
            torch.stack([flip * cosine / stretch, flip * sine / stretch], dim=1),
            torch.stack([-sine * stretch, cosine * stretch], dim=1),
        ],
        dim=1,
    )  # (B, 2, 2), frame coordinates -> picture coordinates
    offset = -(rotation @ shift.unsqueeze(2))  # (B, 2, 1)
    theta = torch.cat([rotation, offset], dim=2)
    grid = F.affine_grid(theta, [batch, 1, frames.side_px, frames.side_px], align_corners=False)
    return F.grid_sample(values, grid, align_corners=False)


def _tone(placed: Tensor, posted: Tensor, generator: torch.Generator) -> Tensor:
    """Give the posted frames a ground, a contrast and colours: (B, 1, r, r) -> (B, 3, r, r).

    They become light on dark or dark on light, some tinted, half of them under a smooth uneven
    light with grain; the others stay grey.
    """
    batch, _, side, _ = placed.shape

    def one_in(share: float) -> Tensor:
        return _uniform(batch, 0, 1, generator).view(batch, 1, 1, 1) < share

    def level(low: float, high: float) -> Tensor:
        grey = _uniform(batch, low, high, generator).view(batch, 1, 1, 1)
        tint = (torch.rand(batch, 3, 1, 1, generator=generator) - 0.5) * 0.5
        return torch.where(one_in(0.4), grey + tint, grey).clamp(0, 1)  # (B, 3, 1, 1)

    dark, light = level(0.0, 0.25), level(0.75, 1.0)
    pure = one_in(0.5)  # black and white proper
    dark, light = torch.where(pure, 0.0, dark), torch.where(pure, 1.0, light)
    inverted = one_in(0.6)
    ground, figure = torch.where(inverted, light, dark), torch.where(inverted, dark, light)
    light_map = torch.randn(batch, 1, 3, 3, generator=generator) * 0.05
    grain = torch.randn(batch, 1, side, side, generator=generator) * 0.02
    unevenness = F.interpolate(light_map, size=side, mode="bilinear") + grain
    toned = ground + (figure - ground) * placed + torch.where(pure, 0.0, unevenness)
    return torch.where(posted.view(batch, 1, 1, 1), toned.clamp(0, 1), placed)
