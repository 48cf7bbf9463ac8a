"""Weights that do not fit: how much does not, and the nearest misses."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from service.errors import BadCheckpoint
from service.model.foreign.misfits import refuse_misfits
from service.model.shapes import shapes_alone
from tests.store_fixtures import TINY

START = "the weights do not fit sge_resnet18 with 3 classes and 8 groups: "


def misfit(changes: dict[str, Any]) -> str:
    """Why a network's weights with changes are refused; None takes a name away."""
    state = shapes_alone(TINY).state_dict() | changes
    weights = {name: value for name, value in state.items() if value is not None}
    with pytest.raises(BadCheckpoint) as caught:
        refuse_misfits(weights, TINY, has_sge=True)
    return caught.value.message.removeprefix(START)


def test_a_shape_is_told_with_the_one_expected() -> None:
    """As for a network that looks at grey pictures."""
    assert misfit({"conv1.weight": torch.ones(64, 1, 3, 3)}) == (
        "1 misshapen; nearest: conv1.weight is 64x1x3x3, expected 64x3x3x3"
    )


def test_a_name_is_told_with_the_one_it_is_close_to() -> None:
    """As for a network whose author calls a norm otherwise."""
    changes = {"layer1.0.bn1.weight": None, "layer1.0.norm1.weight": torch.ones(64)}

    assert misfit(changes) == (
        "1 missing, 1 unexpected; nearest: "
        "layer1.0.norm1.weight is there, expected layer1.0.bn1.weight 64"
    )


def test_the_five_nearest_are_shown() -> None:
    """However many there are, one line stays readable."""
    names = [name for name in shapes_alone(TINY).state_dict() if name.startswith("layer3")]

    message = misfit(dict.fromkeys(names))

    assert message.startswith(
        "29 missing; nearest: layer3.0.conv1.weight is missing, expected 256x"
    )
    assert message.count(";") == 5


def test_counters_are_not_missed() -> None:
    """Evaluation does not use them."""
    state = shapes_alone(TINY).state_dict()

    refuse_misfits({n: v for n, v in state.items() if "num_batches" not in n}, TINY, has_sge=True)
