"""Masks as clients ask for them."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from service.errors import BadRequest
from service.model.resnet import ResNetSpec
from service.results.masks import (
    AllGroups,
    Gate,
    GroupChoice,
    ListedGroups,
    MaskRequest,
    MeanOfGroups,
    WidestGroups,
    draw_mask,
    parse_blocks,
    parse_groups,
)
from service.results.query import MaskFormat, MaskKind
from tests.sample_images import noise

RESNET18 = ResNetSpec("sge_resnet18", groups=8, input_px=64, stem="small").blocks()
NAMES = tuple(block.name for block in RESNET18)

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


def draw(request: MaskRequest) -> dict[str, Any]:
    """The reply's entry for the test's block."""
    return draw_mask("layer4.1", SIMILARITY, GATE, request, PIXELS)


def picture(encoded: str) -> NDArray[np.uint8]:
    """The pixels of a base64 PNG."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded)), formats=["PNG"]))


class TestParseBlocks:
    """The parameter `masks`."""

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("", ()),
            (" ", ()),
            ("last", ("layer4.1",)),
            ("stage1", ("layer1.1",)),
            ("stage4", ("layer4.1",)),
            ("layer2.0", ("layer2.0",)),
            ("all", NAMES),
            ("last,stage1", ("layer1.1", "layer4.1")),
            (" layer4.1 , last,stage4", ("layer4.1",)),
            ("layer3.0,all", NAMES),
        ],
    )
    def test_names_become_blocks_in_the_networks_order(
        self, text: str, expected: tuple[str, ...]
    ) -> None:
        """Whatever the order asked for, and each block once."""
        assert parse_blocks(text, RESNET18) == expected

    @pytest.mark.parametrize(
        ("text", "name"),
        [("layer4.2", "layer4.2"), ("last,stage5", "stage5"), ("last,", ""), ("Last", "Last")],
    )
    def test_an_unknown_name_is_refused_with_those_there_are(self, text: str, name: str) -> None:
        """The client learns every name it may use."""
        with pytest.raises(BadRequest) as refusal:
            parse_blocks(text, RESNET18)

        known = ", ".join(["last", "stage1", "stage2", "stage3", "stage4", "all", *NAMES])
        assert refusal.value.message == f"no block {name!r}, there are: {known}"

    def test_a_refusal_does_not_repeat_a_novel(self) -> None:
        """What the client sent is quoted in a few words."""
        with pytest.raises(BadRequest) as refusal:
            parse_blocks("x" * 10_000, RESNET18)

        assert len(refusal.value.message) < 250


class TestParseGroups:
    """The parameter `groups`."""

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("all", AllGroups()),
            ("mean", MeanOfGroups()),
            ("top:3", WidestGroups(3)),
            ("top:100", WidestGroups(100)),
            ("0", ListedGroups((0,))),
            ("5,0, 7", ListedGroups((5, 0, 7))),
            (" mean ", MeanOfGroups()),
        ],
    )
    def test_a_choice_is_read(self, text: str, expected: GroupChoice) -> None:
        """Listed groups keep the order asked for."""
        assert parse_groups(text, 8) == expected

    @pytest.mark.parametrize(
        "text", ["", ",", "0,,1", "top", "top:0", "top:-1", "top:x", "-1", "1.5", "all,0", "\u0663"]
    )
    def test_anything_else_is_refused_with_what_is_possible(self, text: str) -> None:
        """The message gives the value and the allowed ones."""
        with pytest.raises(BadRequest) as refusal:
            parse_groups(text, 8)

        expected = "it must be all, mean, top:N or numbers from 0 to 7 such as 0,3,5"
        assert refusal.value.message == f"groups is {text!r}, {expected}"

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("0,8", "group is '8', the groups are 0 to 7"),
            ("9" * 5000, "group is '999999999999...9999999999999', the groups are 0 to 7"),
            ("1,1", "groups is '1,1', each of 0 to 7 may be there once"),
            ("1,01", "groups is '1,01', each of 0 to 7 may be there once"),
        ],
    )
    def test_numbers_that_do_not_fit_are_refused_with_the_range(
        self, text: str, message: str
    ) -> None:
        """Out of range and twice are distinguished."""
        with pytest.raises(BadRequest) as refusal:
            parse_groups(text, 8)

        assert refusal.value.message == message

    @given(st.text())
    def test_any_text_is_a_choice_or_a_bad_request(self, text: str) -> None:
        """Nothing a client sends here breaks anything."""
        assert isinstance(choice_or_refusal(text), GroupChoice | BadRequest)


def choice_or_refusal(text: str) -> GroupChoice | BadRequest:
    """What a client gets for a text; any other exception fails the test."""
    try:
        return parse_groups(text, 8)
    except BadRequest as refusal:
        return refusal


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
    """The entry of the reply."""

    def test_json_holds_every_number(self) -> None:
        """The array is written as nested lists (groups, h, w)."""
        entry = orjson.loads(orjson.dumps(draw(asking()), option=orjson.OPT_SERIALIZE_NUMPY))

        data = entry.pop("data")
        np.testing.assert_allclose(data, GATES, rtol=1e-6)
        assert entry == {
            "block": "layer4.1",
            "kind": "gate",
            "height": 1,
            "width": 3,
            "groups": [0, 1, 2, 3],
        }

    def test_similarity_is_given_as_it_is(self) -> None:
        """No gate has touched it."""
        entry = draw(asking(kind="similarity"))

        assert entry["kind"] == "similarity"
        np.testing.assert_array_equal(entry["data"], SIMILARITY, strict=True)

    @pytest.mark.parametrize(
        ("choice", "groups"),
        [
            (AllGroups(), [0, 1, 2, 3]),
            (ListedGroups((3, 0)), [3, 0]),
            (WidestGroups(1), [2]),
            (WidestGroups(3), [2, 3, 0]),
            (WidestGroups(9), [2, 3, 0, 1]),
        ],
    )
    def test_groups_come_as_chosen(self, choice: GroupChoice, groups: list[int]) -> None:
        """In the order asked for, or the widest gates first."""
        entry = draw(asking(choice))

        assert entry["groups"] == groups
        np.testing.assert_allclose(entry["data"], GATES[groups], rtol=1e-6)

    def test_the_widest_groups_are_those_of_the_gates_for_similarity_too(self) -> None:
        """All similarities spread alike; what a group does with it distinguishes groups."""
        entry = draw(asking(WidestGroups(2), kind="similarity"))

        assert entry["groups"] == [2, 3]
        np.testing.assert_array_equal(entry["data"], SIMILARITY[[2, 3]])

    def test_constant_gates_rank_in_order(self) -> None:
        """Without any spread the numbering decides."""
        gate = Gate(gamma=np.zeros(4, np.float32), beta=np.array([3, -1, 0.3, 7], np.float32))

        entry = draw_mask("layer4.1", SIMILARITY, gate, asking(WidestGroups(4)), PIXELS)

        assert entry["groups"] == [0, 1, 2, 3]

    @pytest.mark.parametrize(("kind", "numbers"), [("gate", GATES), ("similarity", SIMILARITY)])
    def test_the_mean_is_one_mask(self, kind: MaskKind, numbers: NDArray[np.float32]) -> None:
        """Of all groups, at each position."""
        entry = draw(asking(MeanOfGroups(), kind))

        assert entry["groups"] == "mean"
        np.testing.assert_allclose(entry["data"], numbers.mean(0, keepdims=True), rtol=1e-6)

    @pytest.mark.parametrize("choice", [AllGroups(), MeanOfGroups(), ListedGroups((2, 1))])
    def test_npy_is_a_file_of_the_same_array(self, choice: GroupChoice) -> None:
        """Any numpy reads it, without pickles."""
        entry = draw(asking(choice, form="npy"))

        array = np.load(io.BytesIO(base64.b64decode(entry["data"])), allow_pickle=False)
        np.testing.assert_array_equal(array, draw(asking(choice))["data"], strict=True)

    def test_png_shows_gates_from_0_to_1(self) -> None:
        """One small greyscale picture per group, comparable between groups and images."""
        entry = draw(asking(form="png"))

        assert "data" not in entry
        pictures = np.stack([picture(image) for image in entry["images"]])
        np.testing.assert_array_equal(pictures, np.rint(GATES * 255).astype(np.uint8), strict=True)

    def test_png_shows_similarity_from_minus_3_to_3(self) -> None:
        """Three standard deviations on either side of mid-grey."""
        entry = draw(asking(ListedGroups((0, 1, 2)), kind="similarity", form="png"))

        pictures = [picture(image).tolist() for image in entry["images"]]
        assert pictures == [[[64, 149, 170]], [[0, 128, 255]], [[0, 255, 128]]]

    def test_overlay_shows_the_model_s_own_pixels(self) -> None:
        """One colour picture per group, the image itself where the gate is constant."""
        entry = draw(asking(form="overlay"))

        pictures = [picture(image) for image in entry["images"]]
        assert [drawn.shape for drawn in pictures] == [(12, 16, 3)] * 4
        np.testing.assert_array_equal(pictures[1], PIXELS.transpose(1, 2, 0))
        assert (pictures[0] != pictures[1]).any()

    @pytest.mark.parametrize("form", ["png", "overlay"])
    def test_a_mean_is_drawn_as_one_picture(self, form: MaskFormat) -> None:
        """The list of images has one entry."""
        assert len(draw(asking(MeanOfGroups(), form=form))["images"]) == 1
