"""A network without weights."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from service.model.resnet import SgeResNet
from service.model.shapes import shapes_alone
from tests.store_fixtures import TINY


def test_it_has_every_shape_and_no_number() -> None:
    """Names, shapes and dtypes are the network's own; nothing of it takes memory."""
    given, expected = shapes_alone(TINY).state_dict(), SgeResNet(TINY).state_dict()

    assert {n: (v.shape, v.dtype) for n, v in given.items()} == {
        n: (v.shape, v.dtype) for n, v in expected.items()
    }
    assert {value.device.type for value in given.values()} == {"meta"}


def test_it_draws_no_random_numbers() -> None:
    """Whoever seeded them finds them as they were."""
    before = torch.get_rng_state()

    shapes_alone(TINY)

    assert torch.equal(torch.get_rng_state(), before)


def test_what_it_cannot_be_is_refused() -> None:
    """As by the network itself."""
    with pytest.raises(ValueError, match="groups"):
        shapes_alone(dataclasses.replace(TINY, groups=7))
