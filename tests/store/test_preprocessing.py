"""An input contract from what several sources say of it."""

from __future__ import annotations

from typing import Any

import pytest

from service.errors import BadManifest
from service.images.contract import InputContract
from service.store.preprocessing import USUAL, Preprocessing, ResolvedInput, resolve_input


def resolved(*said: dict[str, Any], stem: str = "imagenet") -> ResolvedInput:
    """What comes of what is said, by whoever comes first."""
    return resolve_input(
        [Preprocessing(f"source {number}", **one) for number, one in enumerate(said)], stem
    )


def refusal(*said: dict[str, Any]) -> str:
    """Why nothing comes of it."""
    with pytest.raises(BadManifest) as caught:
        resolved(*said)
    return caught.value.message


def test_what_nobody_says_is_as_in_the_published_evaluation() -> None:
    """224 of 256 px, bilinear, ImageNet's mean and standard deviation; and it is said so."""
    found = resolved()

    assert found.contract == InputContract(size_px=224, fit="crop", shorter_side_px=256)
    assert set(found.origins.values()) == {USUAL}


def test_a_small_stem_looks_at_64_px() -> None:
    """In the proportion of ImageNet."""
    assert resolved(stem="small").contract == InputContract(
        size_px=64, fit="crop", shorter_side_px=73
    )


def test_who_comes_first_counts() -> None:
    """Of each thing by itself, and every one is said with its source."""
    found = resolved(
        {"size_px": 288},
        {"size_px": 224, "crop_fraction": 0.95, "interpolation": "bicubic"},
        {"crop_fraction": 0.5, "mean": (0.5, 0.5, 0.5)},
    )

    assert found.contract == InputContract(
        size_px=288,
        fit="crop",
        shorter_side_px=303,
        interpolation="bicubic",
        mean=(0.5, 0.5, 0.5),
    )
    assert found.who_says() == (
        "size: source 0; fit, std: as usual on ImageNet; interpolation, shorter side: source 1; "
        "mean: source 2"
    )


@pytest.mark.parametrize(
    ("size_px", "fraction", "shorter_side_px"),
    [(224, 0.875, 256), (224, 0.95, 235), (224, 1.0, 224), (288, 0.875, 329), (64, 0.9, 71)],
)
def test_a_crop_fraction_rounds_down_as_timm_does(
    size_px: int, fraction: float, shorter_side_px: int
) -> None:
    """A rounding up would be another evaluation by a pixel."""
    contract = resolved({"size_px": size_px, "crop_fraction": fraction}).contract

    assert contract.shorter_side_px == shorter_side_px


def test_a_shorter_side_keeps_its_proportion_at_another_size() -> None:
    """A person's size changes what a file says of another one."""
    said: dict[str, Any] = {"size_px": 224, "shorter_side_px": 232}

    assert resolved(said).contract.shorter_side_px == 232
    assert resolved({"size_px": 448}, said).contract.shorter_side_px == 464
    assert resolved({"size_px": 448, "shorter_side_px": 448}, said).contract.shorter_side_px == 448


def test_padding_takes_no_shorter_side_from_others() -> None:
    """What a file says of a crop is passed over."""
    contract = resolved({"fit": "fit"}, {"crop_fraction": 0.95}).contract

    assert contract == InputContract(size_px=224, fit="fit")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"fit": "fit", "shorter_side_px": 256}, "a shorter side and a crop fraction belong to"),
        ({"fit": "squash"}, "fit is 'squash' (source 0), crop and fit are served: choose one by"),
        ({"interpolation": "lanczos"}, "interpolation is 'lanczos' (source 0), bilinear and bic"),
        ({"crop_fraction": 1.1}, "the crop fraction is 1.1 (source 0), it must be from 0.25 to 1"),
        ({"crop_fraction": 0.0}, "the crop fraction is 0 (source 0), it must be from 0.25 to 1"),
        ({"crop_fraction": float("nan")}, "the crop fraction is nan (source 0), it must be from"),
        ({"shorter_side_px": 1000}, "the shorter side is 1000 px, for 224 at most 896"),
        ({"shorter_side_px": 200}, "invalid manifest: crop needs a shorter_side_px of at least"),
        ({"size_px": 5000}, "invalid manifest: size_px 5000: input should be less than or equal"),
        ({"size_px": 10**400}, "invalid manifest: size_px "),
        ({"shorter_side_px": 10**400}, "the shorter side is 1000000 px, for 224 at most 896"),
        ({"fit": "a cut without scaling"}, "fit is 'a cut without scaling' (source 0), crop and f"),
        ({"size_px": 0}, "invalid manifest: size_px 0: input should be greater than or equal to"),
        ({"mean": (123.7, 116.3, 103.5)}, "mean is (123.7, 116.3, 103.5) (source 0), of values in"),
        ({"mean": (float("nan"), 0.5, 0.5)}, "mean is (nan, 0.5, 0.5) (source 0), of values in"),
        ({"std": (58.4, 57.1, 57.4)}, "std is (58.4, 57.1, 57.4) (source 0), of values in [0, 1]"),
        (
            {"std": (0.0, 0.2, 0.2)},
            "std is (0.0, 0.2, 0.2) (source 0), of values in [0, 1] it must",
        ),
    ],
)
def test_nonsense_is_refused(said: dict[str, Any], reason: str) -> None:
    """One line says what was said, who said it, and what may be."""
    assert refusal(said).startswith(reason)
