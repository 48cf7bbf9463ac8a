"""Where in the picture the evidence for a class lies: class activation maps.

The classifier is linear in the mean of the last block's output f over its positions, so that a
logit is a mean over positions, too, and what each of them adds is exact (Zhou et al. 2016,
arXiv:1512.04150):

    logit_c = mean over (h, w) of A_c(h, w) + b_c    with    A_c(h, w) = w_c . f(h, w)

K: classes, N: classes of an attribution, C: channels of the last block, G: its groups, h and w:
height and width of its maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.results.attribution_request import ClassChoice
from service.results.heat_map import draw_grey, draw_heat
from service.results.query import MaskFormat


@dataclass(frozen=True, slots=True, eq=False)
class Classifier:
    """The last layer of a model.

    Attributes:
        weights: (K, C) float32; channel g * (C/G) + j of a class stands at j * G + g, which is how
            an engine's features lie in memory.
        biases: (K,) float32.
    """

    weights: NDArray[np.float32]
    biases: NDArray[np.float32]

    @classmethod
    def of(
        cls, weights: NDArray[np.float32], biases: NDArray[np.float32], groups: int
    ) -> Classifier:
        """Copy a layer's weights (K, C), in the network's own order of channels, and biases."""
        classes = len(weights)
        grouped = weights.reshape(classes, groups, -1)  # (K, G, C/G)
        return cls(grouped.transpose(0, 2, 1).reshape(classes, -1), biases.copy())

    def evidence(
        self, features: NDArray[np.float32], classes: Sequence[int]
    ) -> NDArray[np.float32]:
        """Give A_c of the classes.

        Args:
            features: (G, C/G, h, w) float32, of one image.
            classes: N positions in the logits.

        Returns:
            (N, h, w) float32: the mean of each, and the class's bias, are its logit.
        """
        *_, height, width = features.shape
        by_position = features.transpose(2, 3, 1, 0).reshape(height * width, -1)  # (h * w, C)
        # Not by BLAS, whose threads would be a team beside the one of the forward pass.
        maps: NDArray[np.float32] = np.einsum("nc,pc->np", self.weights[list(classes)], by_position)
        return maps.reshape(-1, height, width)


@dataclass(frozen=True, slots=True)
class ClassEvidence:
    """A class of an attribution: its logit is the mean of its map, and the bias."""

    index: int
    label: str
    logit: float
    bias: float


@dataclass(frozen=True, slots=True, eq=False)
class Attribution:
    """Where the evidence for classes lies in one image.

    Attributes:
        classes: N of them, in the order of the maps.
        numbers: (N, h, w) float32, C-contiguous; what speaks against a class is negative.
        form: as it was asked for.
        pictures: N PNG files where pictures were asked for, else none.
    """

    classes: tuple[ClassEvidence, ...]
    numbers: NDArray[np.float32]
    form: MaskFormat = "json"
    pictures: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class AttributionRequest:
    """For which classes an attribution is asked, in which form (see `attribute`)."""

    classes: ClassChoice
    format: MaskFormat


def attribute(
    request: AttributionRequest,
    classifier: Classifier,
    logits: NDArray[np.float32],
    features: NDArray[np.float32],
    *,
    labels: Sequence[str],
    pixels: NDArray[np.uint8],
) -> Attribution:
    """Make the attribution of one image.

    Its pictures, where they are asked for, have one scale for all classes, by the largest number m
    of either sign in any of their maps, so that classes compare:

    - `png`: greyscale, w x h px: -m is black, m is white;
    - `overlay`: RGB, W x H px, heat over the pixels: no heat for 0 and below, the greatest for m.

    Args:
        request: for which classes, in which form.
        classifier: the model's.
        logits: (K,) float32, of the image.
        features: (G, C/G, h, w) float32, of the image.
        labels: K, in the order of the logits.
        pixels: (3, H, W) uint8, RGB, the image as the model saw it.
    """
    indices = request.classes.indices(logits)
    numbers = classifier.evidence(features, indices)
    classes = tuple(
        ClassEvidence(index, labels[index], float(logits[index]), float(classifier.biases[index]))
        for index in indices
    )
    return Attribution(classes, numbers, request.format, _draw(numbers, request.format, pixels))


def _draw(
    numbers: NDArray[np.float32], form: MaskFormat, pixels: NDArray[np.uint8]
) -> tuple[bytes, ...]:
    largest = np.abs(numbers).max() or np.float32(1)
    match form:
        case "png":
            return tuple(draw_grey(numbers / (2 * largest) + np.float32(0.5)))
        case "overlay":
            return tuple(draw_heat(numbers / largest, pixels))
        case _:
            return ()
