"""Draw the README's picture, `docs/masks.png`, of a version's folder.

PYTHONPATH=model_store/fashion-mnist .venv/bin/python -m recipe.picture model_store/fashion-mnist/4
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from service.images.contract import ImageLimits
from service.images.decode import decode
from service.images.preprocess import preprocess
from service.model.graph import InferenceGraph
from service.results.heat_map import draw_overlays
from service.store.load import LoadedModel, load_version

ROOT = Path(__file__).parents[3]
PICTURE = ROOT / "docs" / "masks.png"
PHOTOS = ROOT / "tests" / "data"
NAMES = ("ankle-boot", "bag", "sandal", "t-shirt")
MEANS = ("layer1.1", "layer2.1", "layer3.1", "layer4.1")
SHOWN_GROUPS_OF = "layer3.1"
CELL_PX, GAP_PX, TITLE_PX = 112, 6, 16

Pixels = NDArray[np.uint8]


def draw(version: Path) -> Image.Image:
    """Draw one row a picture: what the model saw, mean masks of four blocks, groups of one."""
    model = load_version(version)
    rows = [_row(model, PHOTOS / f"{name}-on-canvas.png") for name in NAMES]
    titles = ["input", *(f"{name} mean" for name in MEANS)]
    titles += [f"{SHOWN_GROUPS_OF} #{group}" for group in range(len(rows[0]) - len(titles))]
    step = CELL_PX + GAP_PX
    sheet = Image.new("RGB", (step * len(titles) - GAP_PX, TITLE_PX + step * len(rows)), "white")
    write = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        write.text((column * step + 2, 2), title, "black")
        for line, row in enumerate(rows):
            cell = row[column].resize((CELL_PX, CELL_PX), Image.Resampling.BICUBIC)
            sheet.paste(cell, (column * step, TITLE_PX + line * step))
    return sheet


def _row(model: LoadedModel, file: Path) -> list[Image.Image]:
    contract = model.manifest.input
    pixels = preprocess(decode(file.read_bytes(), ImageLimits(10**6, 10**6)), contract)
    graph = InferenceGraph(model.network, contract.mean, contract.std)
    with torch.inference_mode():
        similarities = graph(torch.from_numpy(pixels).unsqueeze(0), MEANS).similarities
        gates = {
            name: model.network.sge_of(name).gates(n)[0].numpy() for name, n in similarities.items()
        }
    seen = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    means = [_overlay(gates[name].mean(axis=0), pixels) for name in MEANS]
    groups = [_overlay(gate, pixels) for gate in gates[SHOWN_GROUPS_OF][:4]]
    return [seen, *means, *groups]


def _overlay(mask: NDArray[np.float32], pixels: Pixels) -> Image.Image:
    png = next(iter(draw_overlays(mask[np.newaxis], pixels)))
    return Image.open(io.BytesIO(png)).convert("RGB")


if __name__ == "__main__":
    draw(Path(sys.argv[1])).save(PICTURE, optimize=True)
