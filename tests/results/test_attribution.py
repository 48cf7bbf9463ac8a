"""Where the evidence for a class lies."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.results.attribution import (
    Attribution,
    AttributionRequest,
    ClassEvidence,
    Classifier,
    attribute,
)
from service.results.attribution_request import BestClasses, ClassChoice, ListedClasses
from service.results.query import MaskFormat
from tests.sample_images import noise

CHANCE = np.random.default_rng(1512)
WEIGHTS = CHANCE.standard_normal((5, 12), np.float32)  # K = 5, C = 12
BIASES = CHANCE.standard_normal(5, np.float32)
FEATURES = CHANCE.standard_normal((4, 3, 2, 6), np.float32)  # G = 4, C/G = 3, h = 2, w = 6
CLASSIFIER = Classifier.of(WEIGHTS, BIASES, groups=4)
LOGITS = WEIGHTS @ FEATURES.reshape(12, -1).mean(axis=1) + BIASES
LABELS = ("a", "b", "c", "d", "e")
PIXELS = noise(20, 30).transpose(2, 0, 1)


def attributed(choice: ClassChoice, form: MaskFormat = "json") -> Attribution:
    """The attribution of the test's image."""
    request = AttributionRequest(choice, form)
    return attribute(request, CLASSIFIER, LOGITS, FEATURES, labels=LABELS, pixels=PIXELS)


def pixels_of(png: bytes) -> NDArray[np.uint8]:
    """The pixels of a PNG."""
    return np.asarray(Image.open(io.BytesIO(png), formats=["PNG"]))


def test_evidence_is_the_product_of_weights_and_features_at_each_position() -> None:
    """By a slow loop in float64 over the channels in the network's own order."""
    channels = FEATURES.reshape(12, 2, 6).astype(np.float64)
    expected = np.zeros((2, 2, 6))
    for row, index in enumerate((3, 1)):
        for channel in range(12):
            expected[row] += float(WEIGHTS[index, channel]) * channels[channel]

    maps = CLASSIFIER.evidence(FEATURES, [3, 1])

    assert maps.dtype == np.float32
    np.testing.assert_allclose(maps, expected, rtol=1e-5, atol=1e-5)


def test_features_may_lie_in_memory_in_any_order() -> None:
    """As interleaved channels do, of which an engine gives a view."""
    interleaved = np.ascontiguousarray(FEATURES.transpose(2, 3, 1, 0)).transpose(3, 2, 0, 1)

    maps = CLASSIFIER.evidence(interleaved, [0])

    np.testing.assert_array_equal(maps, CLASSIFIER.evidence(FEATURES, [0]))


def test_a_logit_is_the_mean_of_its_map_and_the_bias() -> None:
    """For every class that is answered, in the order that was asked for."""
    attribution = attributed(ListedClasses((4, 0, 2)))

    assert [one.index for one in attribution.classes] == [4, 0, 2]
    assert attribution.classes[0] == ClassEvidence(4, "e", float(LOGITS[4]), float(BIASES[4]))
    for one, plane in zip(attribution.classes, attribution.numbers, strict=True):
        assert plane.mean() + one.bias == pytest.approx(one.logit, rel=1e-5)


def test_the_best_classes_come_best_first() -> None:
    """Their maps with them."""
    attribution = attributed(BestClasses(2))

    order = [int(index) for index in np.argsort(-LOGITS)[:2]]
    assert [one.index for one in attribution.classes] == order
    np.testing.assert_array_equal(attribution.numbers, CLASSIFIER.evidence(FEATURES, order))


def test_grey_pictures_have_one_scale_for_all_classes() -> None:
    """Nothing is mid-grey; the largest number of either sign in any map is white or black."""
    attribution = attributed(BestClasses(5), "png")

    largest = np.abs(attribution.numbers).max()
    drawn = np.stack([pixels_of(picture) for picture in attribution.pictures])
    expected = np.rint((attribution.numbers / largest / 2 + 0.5) * 255)
    assert drawn.shape == (5, 2, 6)
    np.testing.assert_allclose(drawn, expected, atol=1)
    assert {int(drawn.min()), int(drawn.max())} & {0, 255}


def test_heat_shows_what_speaks_for_a_class() -> None:
    """A map without anything for its class leaves the picture as it is."""
    against = -np.ones((4, 3, 2, 6), np.float32)
    classifier = Classifier.of(np.ones((1, 12), np.float32), np.zeros(1, np.float32), groups=4)
    request = AttributionRequest(BestClasses(1), "overlay")
    logits = np.array([-12], np.float32)

    attribution = attribute(request, classifier, logits, against, labels=("a",), pixels=PIXELS)

    (picture,) = attribution.pictures
    np.testing.assert_array_equal(pixels_of(picture), PIXELS.transpose(1, 2, 0))


def test_features_of_zero_can_be_drawn() -> None:
    """A scale of nothing divides by nothing."""
    nothing = np.zeros((4, 3, 2, 6), np.float32)
    request = AttributionRequest(BestClasses(1), "png")

    attribution = attribute(request, CLASSIFIER, BIASES, nothing, labels=LABELS, pixels=PIXELS)

    (picture,) = attribution.pictures
    assert set(pixels_of(picture).ravel()) == {128}
