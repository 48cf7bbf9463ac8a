"""Checkpoints in the forms that people have: read, recognised, and with the scores they had."""

from __future__ import annotations

import pytest
import torch

from service.model.foreign.read import adopt_checkpoint, read_checkpoint
from service.model.resnet import SgeResNet
from tests.model.foreign.forms import FORMS, Form
from tests.model.foreign.states import HALVES, half, logits_of, state_of
from tests.store_fixtures import TINY, pickled, random_input


def adopted(file_name: str, content: bytes) -> SgeResNet:
    """The network of a file, its architecture inferred."""
    checkpoint = read_checkpoint(content, file_name)
    network = adopt_checkpoint(checkpoint, None, groups=8, input_px=TINY.input_px)
    return network.network


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_gives_the_scores_of_its_network(form: Form) -> None:
    """Whatever the wrapping, prefix, ending and company, the network is the one that was trained.

    Where SGE is inserted, rounding over 18 layers stays under 1e-5 of the largest logit.
    """
    network = adopted(form.file_name, form.write(state_of(is_plain=form.is_plain)))

    expected = logits_of(is_plain=form.is_plain)
    assert network.spec == TINY
    torch.testing.assert_close(
        network(random_input(TINY.input_px)).logits,
        expected,
        rtol=0,
        atol=1e-5 * expected.abs().max().item() if form.is_plain else 0,
    )


@pytest.mark.parametrize("precision", HALVES)
def test_half_precision_is_read_as_what_it_is(precision: str) -> None:
    """Every weight keeps its value, and the precision is told."""
    state = half(HALVES[precision])

    checkpoint = read_checkpoint(pickled(state), "half.pth")

    assert checkpoint.precisions == (precision,)
    network = adopt_checkpoint(checkpoint, None, groups=None, input_px=TINY.input_px).network
    assert torch.equal(network.conv1.weight, state["conv1.weight"].float())
