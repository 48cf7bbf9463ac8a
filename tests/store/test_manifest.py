"""Manifests: what a version may say of itself."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from service.images.contract import IMAGENET_MEAN, IMAGENET_STD, InputContract
from service.model.resnet import ResNetSpec
from service.store.manifest import Manifest


def fields(**changes: Any) -> dict[str, Any]:
    """A valid manifest's fields, with some of them changed."""
    valid = {
        "name": "fashion-mnist",
        "version": "12",
        "architecture": "sge_resnet18",
        "stem": "small",
        "groups": 8,
        "classes": 10,
        "initial_bias": 0.0,
        "input": {"size_px": 64, "fit": "fit"},
        "sha256": {"weights": "0" * 64, "labels": "f" * 64},
        "licence": "MIT",
        "source": "recipe.py",
        "metrics": {"top1": 0.94},
    }
    return valid | changes


def test_a_manifest_describes_its_network() -> None:
    """Everything that decides the network's shapes is in the manifest."""
    manifest = Manifest.model_validate(fields())

    assert manifest.spec == ResNetSpec("sge_resnet18", 10, 8, 0.0, 64, "small")
    assert manifest.spec.initial_bias == 0.0


def test_a_manifest_survives_its_file() -> None:
    """What is written as JSON is read back the same."""
    manifest = Manifest.model_validate(fields())

    assert Manifest.model_validate_json(manifest.model_dump_json()) == manifest


def test_what_is_left_out_is_as_published() -> None:
    """The defaults are those of the authors' networks on ImageNet."""
    left_out = {"stem", "initial_bias", "metrics"}
    manifest = Manifest.model_validate({k: v for k, v in fields().items() if k not in left_out})

    assert (manifest.stem, manifest.initial_bias, manifest.metrics) == ("imagenet", 1.0, {})
    assert (manifest.input.mean, manifest.input.std) == (IMAGENET_MEAN, IMAGENET_STD)
    assert not manifest.sge_inserted


def test_a_manifest_is_not_changed_after_it_was_read() -> None:
    """Its fields are frozen."""
    manifest = Manifest.model_validate(fields())

    with pytest.raises(ValidationError, match="frozen"):
        manifest.groups = 64  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": "Fashion"}, "pattern"),
        ({"name": "../fashion"}, "pattern"),
        ({"name": ".fashion"}, "pattern"),
        ({"name": ""}, "pattern"),
        ({"name": "f" * 65}, "at most 64"),
        ({"version": "0"}, "pattern"),
        ({"version": "01"}, "pattern"),
        ({"version": "1.2"}, "pattern"),
        ({"version": "1\n"}, "pattern"),
        ({"version": "1234567890"}, "at most 9"),
        ({"schema_version": 2}, "Input should be 1"),
        ({"stem": "large"}, "'imagenet' or 'small'"),
        ({"architecture": "resnet18"}, "unknown architecture 'resnet18'"),
        ({"groups": 7}, "7 groups do not divide 64 channels"),
        ({"classes": 0}, "0 classes, at least 1 is needed"),
        ({"input": {"size_px": 16, "fit": "fit"}}, "ends in a 1x1 map"),
        ({"sha256": {"weights": "F" * 64, "labels": "f" * 64}}, "pattern"),
        ({"sha256": {"weights": "f" * 64}}, "labels"),
        ({"licence": None}, "licence"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_cannot_be_served_is_refused(changes: dict[str, Any], reason: str) -> None:
    """Each impossible statement is refused by its own reason."""
    with pytest.raises(ValidationError, match=reason):
        Manifest.model_validate(fields(**changes))


@pytest.mark.parametrize(
    ("contract", "reason"),
    [
        ({"size_px": 224, "fit": "crop"}, "crop needs a shorter_side_px of at least size_px, 224"),
        ({"size_px": 224, "fit": "crop", "shorter_side_px": 223}, "not 223"),
        ({"size_px": 64, "fit": "fit", "shorter_side_px": 64}, "shorter_side_px belongs to crop"),
        ({"size_px": 64, "fit": "fit", "std": (0.2, 0.0, 0.2)}, "every channel must be above 0"),
        ({"size_px": 0, "fit": "fit"}, "greater than or equal to 1"),
        ({"size_px": 4097, "fit": "fit"}, "less than or equal to 4096"),
        ({"size_px": 64, "fit": "stretch"}, "'crop' or 'fit'"),
        ({"size_px": 64, "fit": "fit", "interpolation": "nearest"}, "'bilinear' or 'bicubic'"),
    ],
)
def test_an_impossible_input_is_refused(contract: dict[str, Any], reason: str) -> None:
    """Each contradiction in the input contract is refused by its own reason."""
    with pytest.raises(ValidationError, match=reason):
        InputContract.model_validate(contract)


def test_a_crop_may_take_the_whole_shorter_side() -> None:
    """The smallest shorter side is the size itself."""
    contract = InputContract(size_px=224, fit="crop", shorter_side_px=224)

    assert contract.shorter_side_px == contract.size_px
