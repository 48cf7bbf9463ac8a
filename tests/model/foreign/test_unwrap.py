"""Which weights of a file are taken, and what of it is told."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from service.errors import BadCheckpoint
from service.model.foreign.leaves import entries_named, leaves_of
from service.model.foreign.unwrap import LeftOut, Unwrapped, unwrap
from tests.model.foreign.states import arguments, optimiser, under


def small(value: float = 0.0) -> dict[str, Any]:
    """The names of a network, not its shapes."""
    names = ("conv1.weight", "layer1.0.conv1.weight", "layer1.0.bn1.running_var", "fc.weight")
    return {name: torch.full((2, 2), value) for name in names} | {"fc.bias": torch.ones(2)}


def unwrapped(
    content: dict[str, Any], part: str | None = None, unwanted: tuple[str, ...] = ()
) -> Unwrapped:
    """What is taken of a file of this content."""
    return unwrap(leaves_of(content), "net.pth", part, unwanted)


def refusal(content: dict[str, Any], part: str | None = None) -> str:
    """Why nothing is taken."""
    with pytest.raises(BadCheckpoint) as caught:
        unwrapped(content, part)
    return caught.value.message


def test_what_is_left_out_is_listed() -> None:
    """Optimiser, averaged twin, auxiliary heads and settings, each by its name and what it is."""
    content = {
        "epoch": 9,
        "arch": "resnet18",
        "state_dict": under("model.", small() | {"aux_head.weight": torch.ones(2, 2)})
        | {"criterion.weight": torch.ones(3)},
        "optimizer": optimiser(),
        "args": arguments(),
    }

    assert unwrapped(content).left_out == (
        LeftOut("epoch", "9"),
        LeftOut("arch", "resnet18"),
        LeftOut("state_dict.model.aux_head", "1 tensor"),
        LeftOut("state_dict.criterion", "1 tensor"),
        LeftOut("optimizer", "3 tensors"),
        LeftOut("args", "Namespace"),
    )


def test_averaged_weights_are_preferred_and_said() -> None:
    """The twin that they average is among what is left out."""
    found = unwrapped({"model": small(1), "model_ema": under("module.", small(2))})

    assert found.weights["fc.weight"][0, 0] == 2
    assert found.part == "model_ema.module"
    assert found.notes == ("averaged weights, preferred to model",)
    assert found.left_out == (LeftOut("model", "5 tensors"),)


def test_a_person_may_prefer_another_part() -> None:
    """By the name that it has in the file, or the beginning of it."""
    found = unwrapped({"model": small(1), "ema": {"module": small(2)}}, "model")

    assert (found.part, found.weights["fc.weight"][0, 0], found.notes) == ("model", 1, ())


def test_several_networks_are_not_chosen_from() -> None:
    """Nothing says which one is meant, so the person has to."""
    content = {"student": small(), "teacher": small()}

    assert refusal(content) == (
        "net.pth holds several networks, choose one by --part: student, teacher"
    )
    assert unwrapped(content, "teacher").part == "teacher"
    assert refusal(content, "tutor") == (
        "net.pth has no single network 'tutor', there are: student, teacher"
    )


def test_a_file_of_a_great_many_networks_is_refused() -> None:
    """Before each of its names is compared with each of them."""
    content = {f"net {number}": {"layer1.0.conv1.weight": torch.ones(1)} for number in range(33)}

    assert refusal(content) == "33 networks in one file, at most 32 are read"


@pytest.mark.parametrize("name", ["head", "classifier", "last_linear", "fc.1", "heads.head"])
def test_a_last_layer_is_found_by_its_name(name: str) -> None:
    """Around the blocks or beside them, where it is a single linear layer."""
    state = {key: value for key, value in small().items() if not key.startswith("fc.")}
    layer = {f"{name}.weight": torch.ones(3, 2), f"{name}.bias": torch.ones(3)}

    for content in (state | layer, {"model": under("backbone.", state) | layer}):
        found = unwrapped(content)

        assert torch.equal(found.weights["fc.weight"], torch.ones(3, 2))
        assert len(found.weights) == len(state) + 2
        assert found.left_out == ()


@pytest.mark.parametrize(
    "wrapping",
    ["state_dict_ema.", "model_ema.module.", "ema_model.", "metric_model.", "swa.", "n.", "aux."],
)
@pytest.mark.parametrize("name", ["fc", "head", "classifier", "last_linear", "fc.1", "heads.head"])
def test_a_last_layer_is_found_whatever_the_wrapping_is_called(wrapping: str, name: str) -> None:
    """What it is called itself tells whether it is of training alone."""
    state = {key: value for key, value in small().items() if not key.startswith("fc.")}
    layer = {f"{name}.weight": torch.ones(3, 2), f"{name}.bias": torch.ones(3)}

    found = unwrapped(under(wrapping, state | layer))

    assert torch.equal(found.weights["fc.weight"], torch.ones(3, 2))
    assert found.left_out == ()


@pytest.mark.parametrize("name", ["fc", "head"])
def test_a_last_layer_without_bias_gets_zeros(name: str) -> None:
    """Which is the same function, and is said."""
    state = {key: value for key, value in small().items() if not key.startswith("fc.")}

    found = unwrapped(state | {f"{name}.weight": torch.ones(3, 2)})

    assert torch.equal(found.weights["fc.bias"], torch.zeros(3))
    assert found.notes[-1] == "the last layer has no bias, zeros are taken"


@pytest.mark.parametrize(
    ("beside", "named"),
    [
        ({"proj.weight": (2, 2)}, "proj"),
        ({"projection.0.weight": (2, 2), "projection.1.weight": (2,)}, "projection"),
        ({"projector.weight": (2, 2)}, "projector"),
        ({"predictor.fc.bias": (2,)}, "predictor"),
        ({"proj_head.weight": (2, 2)}, "proj_head"),
    ],
)
@pytest.mark.parametrize("wrapping", ["", "model.", "ema_model."])
@pytest.mark.parametrize("head", ["fc", "head"])
def test_a_projection_beside_the_last_layer_is_not_dropped_without_a_word(
    beside: dict[str, tuple[int, ...]], named: str, wrapping: str, head: str
) -> None:
    """It may be a layer before it; a person who knows that it is of training alone says so."""
    state = {key.replace("fc.", f"{head}."): value for key, value in small().items()}
    layers = {name: torch.ones(shape) for name, shape in beside.items()}
    content = under(wrapping, state | layers)

    assert refusal(content).startswith(f"net.pth has {wrapping}{next(iter(beside))}")
    assert refusal(content).endswith(f"is of training alone: --leave-out {wrapping}{named}")
    found = unwrapped(content, unwanted=(f"{wrapping}{named}",))
    assert found.weights.keys() == small().keys()
    assert found.left_out == (LeftOut(f"{wrapping}{named}", "as asked for"),)


def test_a_layer_after_the_last_one_of_a_network_is_not_dropped() -> None:
    """As where a whole network of a thousand classes was wrapped, with a head for three."""
    content = under("model.", small()) | {"head.weight": torch.ones(3, 2)}

    assert refusal({"state_dict": content}) == (
        "net.pth has state_dict.head.weight beside the last layer, which may be part of the "
        "network; where it is of training alone: --leave-out state_dict.head"
    )


def test_nothing_is_left_out_that_is_not_there() -> None:
    """A name that is mistyped is not passed over."""
    with pytest.raises(BadCheckpoint, match=r"^net\.pth holds no 'poj' that could be left out$"):
        unwrapped(small(), unwanted=("poj",))


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        (["fc.0.weight", "fc.2.weight"], "ends in more than one linear layer (fc.0.weight, fc.2."),
        (["head.weight", "classifier.weight"], "has several heads (head, classifier); save the"),
    ],
)
def test_a_head_of_more_than_one_layer_is_refused(layers: list[str], reason: str) -> None:
    """Nothing of it is dropped silently."""
    state = {key: value for key, value in small().items() if not key.startswith("fc.")}

    assert refusal(state | dict.fromkeys(layers, torch.ones(2, 2))).startswith(f"net.pth {reason}")


def test_an_unknown_layer_beside_the_blocks_is_kept() -> None:
    """It may be part of the function, so it is reported as unexpected later."""
    assert "neck.weight" in unwrapped(small() | {"neck.weight": torch.ones(2, 2)}).weights


def test_an_unknown_layer_between_the_blocks_and_a_last_layer_outside_is_kept() -> None:
    """As a neck, without which the network is another one; what is auxiliary is left out."""
    state = {name: value for name, value in small().items() if not name.startswith("fc.")}
    around = {
        "neck.weight": torch.ones(2, 2),
        "head.weight": torch.ones(3, 2),
        "loss.w": torch.ones(3),
    }

    found = unwrapped({"model": under("backbone.", state) | around, "ema_decay": torch.ones(1)})

    assert set(found.weights) - set(state) == {"neck.weight", "fc.weight", "fc.bias"}
    assert "model.loss" in {left.name for left in found.left_out}


def test_settings_are_found_where_scripts_put_them() -> None:
    """In mappings and namespaces, those nearest to the top first."""
    args = arguments()
    args.classes = ["a"]
    content = {"hyper_parameters": {"data": {"classes": ["b"]}}, "args": args, "classes": ["c"]}

    assert list(entries_named(content, ("classes",))) == [
        ("classes", ["c"]),
        ("args.classes", ["a"]),
        ("hyper_parameters.data.classes", ["b"]),
    ]


def test_weights_that_have_no_prefix_are_called_top() -> None:
    """So that they, too, can be asked for beside others."""
    found = unwrapped(small(1) | {"ema": small(2)}, "top")

    assert (found.part, found.weights["fc.weight"][0, 0]) == ("", 1)
