"""What the files of libraries say of an input."""

from __future__ import annotations

import math
import reprlib
from typing import Any

import pytest
import torch

from service.errors import BadManifest
from service.store.found_input import of_timm, of_torchvision, of_transformers
from service.store.preprocessing import Preprocessing

HALVES = (0.5, 0.5, 0.5)
SHARED: list[Any] = [0]  # a list of lists that share one another: a thousand million numbers
for _ in range(9):
    SHARED = [SHARED] * 10
SHOWN = f"{reprlib.repr(SHARED):.80}"


def test_timms_configuration_is_read() -> None:
    """As `pretrained_cfg` has it."""
    config = {
        "input_size": [3, 288, 288],
        "crop_pct": 0.95,
        "crop_mode": "center",
        "interpolation": "bicubic",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "num_classes": 1000,
    }

    assert of_timm(config, "timm") == Preprocessing(
        "timm",
        size_px=288,
        crop_fraction=0.95,
        fit="crop",
        interpolation="bicubic",
        mean=HALVES,
        std=HALVES,
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"lr": 0.1, "mean": None, "img_size": None, "interpolation": ""}, {}),
        ({"img_size": 192, "crop_pct": 0.9}, {"size_px": 192, "crop_fraction": 0.9, "fit": "crop"}),
        ({"val_crop_size": 224, "val_resize_size": 232}, {"size_px": 224, "shorter_side_px": 232}),
        ({"input_size": 224, "mean": 0.5}, {"size_px": 224, "mean": HALVES}),
        (
            {"interpolation": 3, "crop_mode": "squash"},
            {"interpolation": "bicubic", "fit": "squash"},
        ),
    ],
)
def test_arguments_of_training_scripts_are_read(
    arguments: dict[str, Any], expected: dict[str, Any]
) -> None:
    """Those of timm and of torchvision; what they leave open is not said."""
    assert of_timm(arguments, "args") == Preprocessing("args", **expected)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            {"crop_pct": 0.875, "size": {"shortest_edge": 224}, "resample": 3, "do_resize": True},
            {"size_px": 224, "crop_fraction": 0.875, "interpolation": "bicubic"},
        ),
        (
            {
                "size": {"shortest_edge": 256},
                "do_center_crop": True,
                "crop_size": {"height": 224, "width": 224},
                "resample": 2,
            },
            {"size_px": 224, "shorter_side_px": 256, "interpolation": "bilinear"},
        ),
        (
            {"size": 224, "image_mean": [0.5] * 3, "image_std": [0.5] * 3},
            {"size_px": 224, "crop_fraction": 1.0, "mean": HALVES, "std": HALVES},
        ),
        (
            {"size": {"height": 224, "width": 224}},
            {"size_px": 224, "crop_fraction": 1.0, "fit": "squash"},
        ),
        (
            {"size": 224, "do_normalize": False, "image_mean": [0.5] * 3, "image_std": [0.5] * 3},
            {"size_px": 224, "crop_fraction": 1.0, "mean": (0.0,) * 3, "std": (1.0,) * 3},
        ),
        (
            {"size": 224, "do_resize": False, "rescale_factor": 0.00392156862745098},
            {"size_px": 224, "crop_fraction": 1.0, "fit": "a cut without scaling"},
        ),
    ],
    ids=["crop fraction", "centre crop", "no crop", "squashed", "not normalised", "not scaled"],
)
def test_transformers_configuration_is_read(
    config: dict[str, Any], expected: dict[str, Any]
) -> None:
    """As `preprocessor_config.json` has it, of ResNet's kind and of the common one."""
    assert of_transformers(config, "beside") == Preprocessing(
        "beside", **{"fit": "crop"} | expected
    )


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"input_size": [3, 224, 160]}, "the input is 224 x 160 (timm), it must be a square"),
        ({"mean": [0.5, 0.5]}, "mean is [0.5, 0.5] (timm), three numbers are needed"),
        ({"std": ["a", "b", "c"]}, "std is ['a', 'b', 'c'] (timm), three numbers are needed"),
        ({"interpolation": ["x"]}, "interpolation is ['x'] (timm), a name is needed"),
        ({"crop_mode": SHARED}, f"crop_mode is {SHOWN} (timm), a name is needed"),
        ({"mean": SHARED}, f"mean is {SHOWN} (timm), three numbers are needed"),
    ],
)
def test_what_cannot_be_served_is_refused(config: dict[str, Any], reason: str) -> None:
    """Nothing else is made of it silently."""
    with pytest.raises(BadManifest) as caught:
        of_timm(config, "timm")

    assert caught.value.message == reason


@pytest.mark.parametrize(
    "value",
    [[[3, 224, 224]], torch.ones(3), "224", [], ["a", 224], {"height": 224, "width": [1]}, 2.5],
    ids=str,
)
def test_a_size_that_is_no_number_says_nothing(value: Any) -> None:
    """Whatever its type is."""
    assert of_timm({"input_size": value}, "timm") == Preprocessing("timm")


def test_numbers_beyond_all_bounds_are_infinite() -> None:
    """Which is refused by those who look at it."""
    found = of_timm({"crop_pct": 16**5000, "mean": [16**5000] * 3}, "timm")

    assert (found.crop_fraction, found.mean) == (math.inf, (math.inf,) * 3)


@pytest.mark.parametrize(
    ("config", "shown"),
    [
        ({"rescale_factor": 1 / 127.5}, "0.00784313725490196"),
        ({"rescale_factor": "x"}, "'x'"),
        ({"do_rescale": False}, "1"),
    ],
)
def test_values_that_are_scaled_otherwise_are_refused(config: dict[str, Any], shown: str) -> None:
    """Mean and standard deviation would be of other values."""
    with pytest.raises(BadManifest) as caught:
        of_transformers(config, "beside")

    assert caught.value.message.startswith(
        f"values are multiplied by {shown} (beside), by 1/255 is served"
    )


def test_torchvisions_second_weights_are_known_by_their_hash() -> None:
    """They are evaluated at 232 px, which no file says."""
    assert of_torchvision("11ad3fa6" + "0" * 56) == Preprocessing(
        "torchvision's of IMAGENET1K_V2", size_px=224, shorter_side_px=232
    )
    assert of_torchvision("0676ba61" + "0" * 56) is None
