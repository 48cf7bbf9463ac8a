"""What the card states: accuracy through the service's own decoding, and where the masks peak.

B: batch, S: side of the model's input.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from recipe.garments import Picture, Split, pictures_as_they_are, pictures_on_canvas
from recipe.network import CONTRACT
from service.images.contract import ImageLimits
from service.images.decode import DecodedImage, decode
from service.images.preprocess import preprocess
from service.model.graph import InferenceGraph
from service.model.resnet import SgeResNet

LIMITS = ImageLimits(encoded_bytes=1_000_000, pixels=1_000_000)
BATCH = 250
CLIENTS = 8


@dataclass(frozen=True, slots=True)
class Batch:
    """Pixels (B, 3, S, S) uint8, labels (B,), and where the garments are: (B, S, S) bool."""

    pixels: Tensor
    labels: Tensor
    garments: NDArray[np.bool_]


def measure(network: SgeResNet, split: Split) -> dict[str, Any]:
    """Accuracy on images as they are and on canvas, and where the masks peak on canvas."""
    graph = InferenceGraph(network, CONTRACT.mean, CONTRACT.std)
    canvas = list(batches_of(pictures_on_canvas(split)))
    return {
        "top1_as_is": _accuracy(graph, batches_of(pictures_as_they_are(split))),
        "top1_on_canvas": _accuracy(graph, canvas),
        "peaks_on_garment": _peaks(network, graph, canvas),
    }


def measure_over_http(url: str, split: Split) -> dict[str, float]:
    """Post every image, as it is and on canvas, to a running service; return both accuracies."""
    with httpx.Client(base_url=url, timeout=60) as client, ThreadPoolExecutor(CLIENTS) as pool:

        def is_right(picture: Picture) -> bool:
            headers = {"Content-Type": "image/png"}
            reply = client.post("/v1/predict?top_k=1", content=picture.png, headers=headers)
            reply.raise_for_status()
            index: int = reply.json()["results"][0]["predictions"][0]["index"]
            return index == picture.label

        def accuracy(pictures: Iterable[Picture], name: str) -> float:
            answers = list(tqdm(pool.map(is_right, pictures), name, total=len(split.labels)))
            return sum(answers) / len(answers)

        return {
            "top1_as_is": accuracy(pictures_as_they_are(split), "as they are"),
            "top1_on_canvas": accuracy(pictures_on_canvas(split), "on canvas"),
        }


def batches_of(pictures: Iterator[Picture]) -> Iterator[Batch]:
    """What the model sees of pictures, in batches of at most `BATCH`."""
    while group := list(itertools.islice(pictures, BATCH)):
        pixels = [preprocess(decode(picture.png, LIMITS, CONTRACT), CONTRACT) for picture in group]
        yield Batch(
            torch.from_numpy(np.stack(pixels)),
            torch.tensor([picture.label for picture in group]),
            np.stack([_seen_by_the_model(picture.garment) for picture in group]),
        )


def _seen_by_the_model(garment: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Take a garment's outline (H, W) the way of its picture: (S, S)."""
    white = DecodedImage.whole(Image.fromarray(garment * np.uint8(255)))
    seen: NDArray[np.bool_] = preprocess(white, CONTRACT)[0] > 127
    return seen


@torch.inference_mode()
def _accuracy(graph: InferenceGraph, batches: Iterable[Batch]) -> float:
    right = total = 0
    for batch in tqdm(batches, "accuracy", leave=False):
        right += int((graph(batch.pixels).logits.argmax(1) == batch.labels).sum())
        total += len(batch.labels)
    return right / total


@torch.inference_mode()
def _peaks(
    network: SgeResNet, graph: InferenceGraph, batches: Iterable[Batch]
) -> dict[str, dict[str, float]]:
    """How often each block's mean mask peaks on the garment.

    A peak counts when the centre of its position lies on the garment. `chance` is the share of
    all positions of which that is true: what a peak at random would score.
    """
    names = [block.name for block in network.spec.blocks()]
    scores: dict[str, Counter[str]] = {name: Counter() for name in names}
    images = 0
    for batch in tqdm(batches, "peaks", leave=False):
        images += len(batch.labels)
        for name, similarity in graph(batch.pixels, names).similarities.items():
            on_garment = at_centres(batch.garments, similarity.shape[-1])
            maps = {"gate": network.sge_of(name).gates(similarity), "similarity": similarity}
            for kind, values in maps.items():
                peak = values.mean(dim=1).flatten(1).argmax(1, keepdim=True).numpy()
                scores[name][kind] += int(np.take_along_axis(on_garment, peak, axis=1).sum())
            scores[name]["chance"] += float(on_garment.mean(axis=1).sum())  # type: ignore[assignment]
    return {
        name: {kind: round(count / images, 4) for kind, count in score.items()}
        for name, score in scores.items()
    }


def at_centres(garments: NDArray[np.bool_], side: int) -> NDArray[np.bool_]:
    """Look (B, S, S) up at the centres of side x side positions: (B, side * side)."""
    centres = ((np.arange(side) + 0.5) * garments.shape[-1] / side).astype(int)
    return garments[:, centres][:, :, centres].reshape(len(garments), -1)
