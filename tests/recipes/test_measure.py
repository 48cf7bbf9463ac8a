"""What the shipped model's recipe measures, and the picture that it draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from recipe.evidence import _ranks, measure_evidence
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


def test_a_maps_pixels_go_or_come_in_the_order_of_its_numbers() -> None:
    """From the largest on; the picture's own place decides between equal ones."""
    maps = torch.tensor([[[0.1, 0.4], [0.3, 0.4]]])

    assert _ranks(maps).tolist() == [[[3, 0], [2, 1]]]


def test_evidence_is_found_on_the_garment_rather_than_anywhere() -> None:
    """Of a boot, a bag and a sandal: better than noise by every score, and scores are shares."""
    labels = [LABELS.index(name) for name in ("Ankle boot", "Bag", "Sandal")]
    garments = torch.stack([garment_of(LABELS[label]) for label in labels])

    scores = measure_evidence(
        load_version(SHIPPED).network, Split(garments, torch.tensor(labels)), curves_of=3
    )

    found, noise = scores["attribution"], scores["random"]
    assert scores.keys() == {"attribution", "gate layer2.1", "gate layer4.1", "random"}
    assert all(0 <= share <= 1 for score in scores.values() for share in score.values())
    assert found["peak"] > noise["peak"]
    assert found["mass"] > noise["mass"]
    assert found["insertion"] > noise["insertion"]
    assert found["deletion"] < noise["deletion"]


def test_the_readmes_picture_is_the_shipped_models() -> None:
    """Up to rounding, which another processor does in another way."""
    committed = np.asarray(Image.open(PICTURE).convert("RGB"), dtype=int)

    drawn = np.asarray(draw(SHIPPED), dtype=int)

    assert drawn.shape == committed.shape
    assert np.abs(drawn - committed).mean() < 1
