"""Masks: the numbers of the chosen groups, and their pictures."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.results.mask_request import (
    AllGroups,
    GroupChoice,
    ListedGroups,
    MaskRequest,
    MeanOfGroups,
    WidestGroups,
)
from service.results.masks import Gate, Mask, draw_mask
from service.results.query import MaskFormat, MaskKind
from tests.sample_images import noise

PIXELS = noise(12, 16).transpose(2, 0, 1)
SIMILARITY = np.array(
    [[[-1.5, 0.5, 1]], [[-3, 0, 3]], [[-9, 9, 0]], [[1, 0, -1]]], np.float32
)  # G = 4, h = 1, w = 3
GATE = Gate(gamma=np.array([1, 0, 0.5, -2], np.float32), beta=np.array([0, 1, 0, 0.5], np.float32))
GATES = 1 / (1 + np.exp(-(GATE.gamma[:, None, None] * SIMILARITY + GATE.beta[:, None, None])))


def asking(
    groups: GroupChoice | None = None, kind: MaskKind = "gate", form: MaskFormat = "json"
) -> MaskRequest:
    """A request for the last block."""
    return MaskRequest(("layer4.1",), groups or AllGroups(), kind, form)


def draw(request: MaskRequest) -> Mask:
    """The mask of the test's block."""
    return draw_mask("layer4.1", SIMILARITY, GATE, request, PIXELS)


def picture(png: bytes) -> NDArray[np.uint8]:
    """The pixels of a PNG."""
    return np.asarray(Image.open(io.BytesIO(png), formats=["PNG"]))


class TestGates:
    """From similarity to gates."""

    def test_gates_are_the_sigmoid_of_scaled_and_shifted_similarity(self) -> None:
        """The formula of the paper, per group; the tolerance is float32's."""
        gates = GATE.gates(SIMILARITY)

        assert gates.dtype == np.float32
        np.testing.assert_allclose(gates, GATES, rtol=1e-6)

    def test_extreme_gates_stay_finite(self) -> None:
        """A large gamma closes or opens a gate without overflow."""
        gate = Gate(gamma=np.array([1e6], np.float32), beta=np.zeros(1, np.float32))

        gates = gate.gates(np.array([[[-3, 3]]], np.float32))

        np.testing.assert_allclose(gates, [[[0, 1]]], atol=1e-30)


class TestDrawMask:
    """One block of one image."""

    def test_similarity_is_given_as_it_is(self) -> None:
        """No gate has touched it."""
        mask = draw(asking(kind="similarity"))

        assert mask.kind == "similarity"
        np.testing.assert_array_equal(mask.numbers, SIMILARITY, strict=True)

    @pytest.mark.parametrize(
        ("choice", "groups"),
        [
            (AllGroups(), (0, 1, 2, 3)),
            (ListedGroups((3, 0)), (3, 0)),
            (WidestGroups(1), (2,)),
            (WidestGroups(3), (2, 3, 0)),
            (WidestGroups(9), (2, 3, 0, 1)),
        ],
    )
    def test_groups_come_as_chosen(self, choice: GroupChoice, groups: tuple[int, ...]) -> None:
        """In the order asked for, or the widest gates first."""
        mask = draw(asking(choice))

        assert mask.groups == groups
        np.testing.assert_allclose(mask.numbers, GATES[list(groups)], rtol=1e-6)

    def test_the_widest_groups_are_those_of_the_gates_for_similarity_too(self) -> None:
        """All similarities spread alike; what a group does with it distinguishes groups."""
        mask = draw(asking(WidestGroups(2), kind="similarity"))

        assert mask.groups == (2, 3)
        np.testing.assert_array_equal(mask.numbers, SIMILARITY[[2, 3]])

    def test_constant_gates_rank_in_order(self) -> None:
        """Without any spread the numbering decides."""
        gate = Gate(gamma=np.zeros(4, np.float32), beta=np.array([3, -1, 0.3, 7], np.float32))

        mask = draw_mask("layer4.1", SIMILARITY, gate, asking(WidestGroups(4)), PIXELS)

        assert mask.groups == (0, 1, 2, 3)

    @pytest.mark.parametrize(("kind", "numbers"), [("gate", GATES), ("similarity", SIMILARITY)])
    def test_the_mean_is_one_mask(self, kind: MaskKind, numbers: NDArray[np.float32]) -> None:
        """Of all groups, at each position."""
        mask = draw(asking(MeanOfGroups(), kind))

        assert mask.groups == "mean"
        np.testing.assert_allclose(mask.numbers, numbers.mean(0, keepdims=True), rtol=1e-6)

    def test_png_shows_gates_from_0_to_1(self) -> None:
        """One small greyscale picture per group, comparable between groups and images."""
        mask = draw(asking(form="png"))

        pictures = np.stack([picture(image) for image in mask.pictures])
        np.testing.assert_array_equal(pictures, np.rint(GATES * 255).astype(np.uint8), strict=True)

    def test_png_shows_similarity_from_minus_3_to_3(self) -> None:
        """Three standard deviations on either side of mid-grey."""
        mask = draw(asking(ListedGroups((0, 1, 2)), kind="similarity", form="png"))

        pictures = [picture(image).tolist() for image in mask.pictures]
        assert pictures == [[[64, 149, 170]], [[0, 128, 255]], [[0, 255, 128]]]

    def test_overlay_shows_the_model_s_own_pixels(self) -> None:
        """One colour picture per group, the image itself where the gate is constant."""
        mask = draw(asking(form="overlay"))

        pictures = [picture(image) for image in mask.pictures]
        assert [drawn.shape for drawn in pictures] == [(12, 16, 3)] * 4
        np.testing.assert_array_equal(pictures[1], PIXELS.transpose(1, 2, 0))
        assert (pictures[0] != pictures[1]).any()

    @pytest.mark.parametrize("form", ["png", "overlay"])
    def test_a_mean_is_drawn_as_one_picture(self, form: MaskFormat) -> None:
        """Of all groups together."""
        assert len(draw(asking(MeanOfGroups(), form=form)).pictures) == 1
