"""What the shipped model's recipe measures, and the picture that it draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from recipe.garments import LABELS, Split
from recipe.measure import measure
from recipe.network import SPEC
from recipe.picture import PICTURE, draw
from service.store.load import list_versions, load_version

ROOT = Path(__file__).parents[2]
SHIPPED = list_versions(ROOT / "model_store" / "fashion-mnist")[-1]
FILES = {"T-shirt/top": "t-shirt", "Ankle boot": "ankle-boot"}


def garment_of(label: str) -> torch.Tensor:
    """The test picture of a class: (28, 28) uint8."""
    file = ROOT / "tests" / "data" / f"{FILES.get(label, label.lower())}.png"
    return torch.from_numpy(np.array(Image.open(file)))


def test_figures_are_shares_of_the_images() -> None:
    """The shipped model knows a garment of each kind; of two that are called otherwise, none."""
    garments = torch.stack([garment_of(label) for label in LABELS])
    labels = torch.arange(len(LABELS))
    labels[3], labels[7] = 8, 2

    figures = measure(load_version(SHIPPED).network, Split(garments, labels))

    assert figures["top1_as_is"] == 0.8
    assert figures["top1_on_canvas"] == 0.8
    peaks = figures["peaks_on_garment"]
    assert list(peaks) == [block.name for block in SPEC.blocks()]
    assert peaks["layer2.1"]["gate"] >= 0.9
    assert 0.05 < peaks["layer2.1"]["chance"] < 0.3


def test_the_readmes_picture_is_the_shipped_models() -> None:
    """Up to rounding, which another processor does in another way."""
    committed = np.asarray(Image.open(PICTURE).convert("RGB"), dtype=int)

    drawn = np.asarray(draw(SHIPPED), dtype=int)

    assert drawn.shape == committed.shape
    assert np.abs(drawn - committed).mean() < 1
