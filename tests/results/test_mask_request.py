"""What a client may ask of masks, as text."""

from __future__ import annotations

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.map_document import mask_document
from service.errors import BadRequest
from service.model.resnet import ResNetSpec
from service.results.mask_request import (
    AllGroups,
    GroupChoice,
    ListedGroups,
    MaskRequest,
    MeanOfGroups,
    WidestGroups,
    cost_of,
    parse_blocks,
    parse_groups,
)
from service.results.masks import Gate, draw_mask
from service.results.query import MaskFormat

RESNET18 = ResNetSpec("sge_resnet18", groups=8, input_px=64, stem="small").blocks()
NAMES = tuple(block.name for block in RESNET18)


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


class TestCost:
    """What masks come to, known from the network's shapes alone."""

    @pytest.mark.parametrize("form", ["json", "npy", "png", "overlay"])
    @pytest.mark.parametrize(
        "choice", [AllGroups(), MeanOfGroups(), WidestGroups(3), ListedGroups((7, 0))]
    )
    def test_no_answer_is_larger_than_was_told(self, form: MaskFormat, choice: GroupChoice) -> None:
        """Of noise, which compresses worst, and of numbers with every digit."""
        chance = np.random.default_rng(7)
        request = MaskRequest(NAMES[:2], choice, "similarity", form)
        pixels = chance.integers(0, 256, (3, 64, 64), np.uint8)
        gate = Gate(np.ones(8, np.float32), np.zeros(8, np.float32))
        masks = [
            draw_mask(
                block.name,
                -chance.random((8, block.height, block.width), np.float32) / 1e4,
                gate,
                request,
                pixels,
            )
            for block in RESNET18[:2]
        ]
        documents = [mask_document(mask) for mask in masks]

        cost = cost_of(request, RESNET18, 64)

        heads = 200 * len(documents)
        assert len(orjson.dumps(documents)) <= cost.answer_bytes + heads
        assert cost.pictures == sum(len(mask.pictures) for mask in masks)
