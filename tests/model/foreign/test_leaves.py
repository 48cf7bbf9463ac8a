"""The leaves of a file: each mapping once, however it nests, and none without end."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch

from service.errors import BadCheckpoint
from service.model.foreign import leaves
from service.model.foreign.leaves import entries_named, kind_of, leaves_of
from service.model.foreign.other_networks import name_network
from service.model.foreign.read import read_checkpoint
from tests.model.foreign.states import state_of, under
from tests.store_fixtures import pickled


def hundredfold(levels: int) -> dict[str, Any]:
    """A mapping that holds one mapping a hundred times, which does too, and so on; and itself."""
    level: dict[str, Any] = {}
    level["self"] = level
    for _ in range(levels):
        level = {f"copy {index}": level for index in range(100)}
    return level


def test_each_mapping_is_read_once_beside_weights() -> None:
    """A hundredfold in each of twelve levels, weights are found at once."""
    content = {"args": hundredfold(12), "state_dict": state_of()}

    checkpoint = read_checkpoint(pickled(content), "net.pth")

    assert len(checkpoint.weights) == len(state_of())
    assert list(entries_named(content, ("classes",))) == []


def test_settings_of_a_mapping_that_many_hold_are_found_once() -> None:
    """Not as often as there are ways to it."""
    held = {"classes": ["a"]}
    content = {"hparams": {f"copy {index}": held for index in range(100)}}

    assert list(entries_named(content, ("classes",))) == [("hparams.copy 0.classes", ["a"])]


def test_names_and_values_of_a_file_are_bounded() -> None:
    """As is the work that each of them is."""
    nested: frozenset[Any] = frozenset()
    other: frozenset[Any] = frozenset([1])
    for _ in range(60):
        nested, other = frozenset([nested, other]), frozenset([nested, other, 1])

    assert list(leaves_of({nested: 1})) == ["frozenset"]
    for content, reason in (
        ({"a" * 1001: 1}, "a name of more than 1000 characters, 'aaa"),
        ({"a" * 600: {"b" * 600: 1}}, "a name of more than 1000 characters, 'aaa"),
        (dict.fromkeys(range(leaves.LEAVES_LIMIT + 1)), "more than 200000 values in one file"),
    ):
        with pytest.raises(BadCheckpoint, match=f"^{reason}"):
            leaves_of(content)


def test_a_nested_tensor_is_refused() -> None:
    """It has no shape to look at."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that they are a prototype
        nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])

    with pytest.raises(BadCheckpoint, match=r"^fc\.weight is a nested tensor"):
        read_checkpoint(pickled(state_of() | {"fc.weight": nested}), "net.pth")


def test_a_great_number_is_not_written_out() -> None:
    """Python refuses to, beyond some thousand digits."""
    assert (kind_of(16**5000), kind_of(3)) == ("int", "3")


def test_a_network_is_told_by_long_names_as_by_short_ones() -> None:
    """In time that grows as they do."""
    name = ".patch_embed." * 20_000 + " x"

    assert name_network({name: torch.ones(1)}) == "a vision transformer"


def test_numbers_that_cannot_be_read_are_told_by_their_type() -> None:
    """Of a sparse tensor and of one without memory torch gives no number."""
    sparse, nowhere = torch.tensor(1.0).to_sparse(), torch.tensor(1.0, device="meta")
    content = {"best": nowhere, "n_averaged": sparse, "model": under("module.", state_of())}
    averaged = {"n_averaged": nowhere} | under("module.", state_of())

    checkpoint = read_checkpoint(pickled(content), "net.pth")

    assert [left.what for left in checkpoint.unwrapped.left_out] == ["Tensor", "Tensor"]
    assert read_checkpoint(pickled(averaged), "net.pth").unwrapped.part == "module"
