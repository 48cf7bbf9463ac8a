"""The wire's form of a mask."""

from __future__ import annotations

import base64
import io
from dataclasses import replace

import numpy as np
import orjson
import pytest

from service.api.map_document import mask_document
from service.results.masks import Mask
from service.results.query import MaskFormat

NUMBERS = np.array([[[0.25, 0.5, 0.75]], [[0.0, 1.0, 0.5]]], np.float32)  # N = 2, h = 1, w = 3
MASK = Mask("layer4.1", "gate", (3, 0), NUMBERS)
HEAD = {"block": "layer4.1", "kind": "gate", "height": 1, "width": 3, "groups": [3, 0]}


def test_json_holds_every_number() -> None:
    """The array is written as nested lists (groups, h, w)."""
    document = orjson.dumps(mask_document(MASK), option=orjson.OPT_SERIALIZE_NUMPY)

    assert orjson.loads(document) == {**HEAD, "data": NUMBERS.tolist()}


def test_npy_is_a_file_of_the_same_array() -> None:
    """Any numpy reads it, without pickles."""
    document = mask_document(replace(MASK, form="npy"))

    content = io.BytesIO(base64.b64decode(document["data"]))
    np.testing.assert_array_equal(np.load(content, allow_pickle=False), NUMBERS, strict=True)


@pytest.mark.parametrize("form", ["png", "overlay"])
def test_pictures_are_base64_and_stand_for_the_numbers(form: MaskFormat) -> None:
    """One a group, in the order of the groups; no numbers beside them."""
    document = mask_document(replace(MASK, form=form, pictures=(b"one", b"two")))

    assert document == {**HEAD, "groups": (3, 0), "images": ["b25l", "dHdv"]}


def test_a_mean_says_so() -> None:
    """Its groups are one word."""
    mean = Mask("layer4.1", "similarity", "mean", NUMBERS[:1])

    assert mask_document(mean)["groups"] == "mean"
