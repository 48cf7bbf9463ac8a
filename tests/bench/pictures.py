"""Pictures to post and decode, made from random numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.sample_images import encode

QUALITY = 90
SEED = 7
TILE_PX = 800


def scenery(width: int, height: int) -> NDArray[np.uint8]:
    """A picture (H, W, 3) uint8 whose coarse structure outweighs its fine one, as in photographs.

    A JPEG of it costs about as much to decode as one of a photograph; one of plain noise would
    cost several times that. A large picture is a tile and its mirror images: drawing 12 million
    pixels one by one would take longer than what is measured on them.
    """
    tile = _tile(min(width, TILE_PX), min(height, TILE_PX))
    tile_height, tile_width, _ = tile.shape
    beyond = ((0, height - tile_height), (0, width - tile_width), (0, 0))
    return np.pad(tile, beyond, mode="symmetric")


def _tile(width: int, height: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(SEED)
    total = np.zeros((height, width, 3), np.float32)
    cells, weight = 4, 0.5
    while cells < max(width, height):
        grid = rng.integers(0, 256, (cells, cells, 3), np.uint8)
        layer = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)
        total += (np.asarray(layer, np.float32) - 128) * weight
        cells, weight = 2 * cells, 0.72 * weight
    return (total + 128).clip(0, 255).astype(np.uint8)


def jpeg(width: int, height: int) -> bytes:
    """A JPEG with halved colour resolution, as cameras write it."""
    return encode(scenery(width, height), "JPEG", quality=QUALITY, subsampling=2)
