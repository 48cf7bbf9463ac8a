"""How well maps find the garment: attribution beside gates and chance, on canvas pictures.

B: batch, S: side of the model's input, N: pixels of a picture (S * S).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from recipe.garments import Split, pictures_on_canvas
from recipe.measure import Batch, at_centres, batches_of
from recipe.network import CONTRACT
from service.model.graph import InferenceGraph
from service.model.resnet import FEATURES, SgeResNet

STEPS = 14  # in which a picture's pixels are taken away, or come
CURVES_OF = 1_000  # pictures; each is classified 28 times a map
GROUND = 255  # of the canvas, as every picture begins and ends
BEST_GATE, LAST_GATE = "layer2.1", "layer4.1"

Maps = Mapping[str, Tensor]
"""By name, (B, h, w), none below 0: what each says of where the garment is."""


def measure_evidence(
    network: SgeResNet, split: Split, curves_of: int = CURVES_OF
) -> dict[str, dict[str, float]]:
    """Score each kind of map on the canvas pictures.

    - `peak`: share of pictures on which the centre of the map's largest position lies on the
      garment;
    - `mass`: share of what is above 0, the map scaled bilinearly to the picture, that lies on it;
    - `deletion`, `insertion`: the mean score of the predicted class while pixels are taken away,
      or come, most important first (RISE; Petsiuk et al. 2018, arXiv:1806.07421), of the first
      `curves_of` pictures.

    Returns:
        By map: `attribution` of the predicted class, the mean gates of two blocks (less the
        smallest of each picture), and `random`, noise as coarse as the attribution.
    """
    graph = InferenceGraph(network, CONTRACT.mean, CONTRACT.std)
    generator = torch.Generator().manual_seed(1512)
    sums: dict[str, dict[str, float]] = {}
    images = 0
    for batch in tqdm(batches_of(pictures_on_canvas(split)), "evidence", leave=False):
        maps, predicted = _maps(graph, batch.pixels, generator)
        with_curves = images < curves_of
        for name, values in maps.items():
            scores = _located(values, batch)
            if with_curves:
                scores |= _curves(graph, batch.pixels, values, predicted)
            for score, value in scores.items():
                sums.setdefault(name, {}).setdefault(score, 0.0)
                sums[name][score] += value
        images += len(batch.labels)
    of = {"peak": images, "mass": images, "deletion": curves_of, "insertion": curves_of}
    return {
        name: {score: round(value / of[score], 4) for score, value in scores.items()}
        for name, scores in sums.items()
    }


@torch.inference_mode()
def _maps(graph: InferenceGraph, pixels: Tensor, chance: torch.Generator) -> tuple[Maps, Tensor]:
    """The maps of a batch, and the classes predicted for it (B,)."""
    outputs = graph(pixels, {BEST_GATE, LAST_GATE, FEATURES})
    predicted = outputs.logits.argmax(1)
    network = graph.network
    assert isinstance(network, SgeResNet)  # noqa: S101 - as `measure_evidence` made it
    assert outputs.features is not None  # noqa: S101 - asked for
    evidence = torch.einsum(
        "bc,bchw->bhw", network.fc.weight[predicted], outputs.features.flatten(1, 2)
    )
    gates = {
        f"gate {name}": _above_smallest(network.sge_of(name).gates(n).mean(dim=1))
        for name, n in outputs.similarities.items()
    }
    noise = torch.rand(evidence.shape, generator=chance)
    return {"attribution": evidence.clamp(min=0), **gates, "random": noise}, predicted


def _above_smallest(maps: Tensor) -> Tensor:
    return maps - maps.amin(dim=(1, 2), keepdim=True)


def _located(maps: Tensor, batch: Batch) -> dict[str, float]:
    """Sums over a batch of peaks on the garment and of shares of mass on it."""
    peaks = maps.flatten(1).argmax(1, keepdim=True).numpy()
    on_garment = at_centres(batch.garments, maps.shape[-1])
    mass = _as_large_as(batch.pixels, maps).numpy()
    inside = np.where(batch.garments, mass, 0).sum(axis=(1, 2))
    whole = np.maximum(mass.sum(axis=(1, 2)), np.finfo(np.float32).tiny)
    return {
        "peak": float(np.take_along_axis(on_garment, peaks, axis=1).sum()),
        "mass": float((inside / whole).sum()),
    }


def _as_large_as(pixels: Tensor, maps: Tensor) -> Tensor:
    """Scale maps (B, h, w) bilinearly to (B, S, S)."""
    side = pixels.shape[-1]
    return F.interpolate(maps.unsqueeze(1), size=(side, side), mode="bilinear").squeeze(1)


@torch.inference_mode()
def _curves(
    graph: InferenceGraph, pixels: Tensor, maps: Tensor, predicted: Tensor
) -> dict[str, float]:
    """Sums over a batch of the mean scores while pixels go and while they come."""
    rank = _ranks(_as_large_as(pixels, maps))
    ground = torch.full_like(pixels, GROUND)

    def mean_score(kept: Iterable[Tensor]) -> float:
        total = 0.0
        for mask in kept:
            shown = torch.where(mask.unsqueeze(1), pixels, ground)
            scores = graph(shown).logits.softmax(1)
            total += float(scores.gather(1, predicted.unsqueeze(1)).sum())
        return total / STEPS

    bounds = list(_bounds(rank[0].numel()))
    return {
        "deletion": mean_score(rank >= bound for bound in bounds),
        "insertion": mean_score(rank < bound for bound in bounds),
    }


def _ranks(maps: Tensor) -> Tensor:
    """The place of each pixel of (B, S, S) when the most important come first, from 0."""
    order = maps.flatten(1).argsort(dim=1, descending=True, stable=True)
    return order.argsort(dim=1).view(maps.shape)


def _bounds(pixels: int) -> Iterator[int]:
    """How many pixels have gone, or come, in the middle of each step."""
    return (round((step + 0.5) * pixels / STEPS) for step in range(STEPS))


def evidence_rows(figures: Mapping[str, Any]) -> str:
    """The rows of the card's table."""
    return "\n".join(
        f"| {name} | {score['peak']:.1%} | {score['mass']:.1%} | {score['deletion']:.3f} | "
        f"{score['insertion']:.3f} |"
        for name, score in figures.items()
    )
