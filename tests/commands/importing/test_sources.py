"""Who says what of an imported model's input and classes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from service.commands.importing.request import ImportRequest
from service.commands.importing.sources import Sources, files_beside, found_labels, said_of_input
from service.images.contract import InputContract
from service.store.preprocessing import resolve_input


def sources(content: Mapping[str, Any], **beside: dict[str, Any]) -> Sources:
    """A checkpoint's content with the files beside it, named without their ending."""
    return Sources(content, {f"{name}.json": held for name, held in beside.items()}, "0" * 64)


def size_of(found: Sources, **asked: Any) -> tuple[int, str]:
    """The size that comes of it, and who says it."""
    request = ImportRequest(Path("net.pth"), "net", **asked)
    resolved = resolve_input(said_of_input(request, found), "imagenet")
    return resolved.contract.size_px, resolved.origins["size_px"]


def config(size_px: int) -> dict[str, Any]:
    """Timm's configuration of a size."""
    return {"input_size": [3, size_px, size_px]}


def test_the_person_counts_first_then_the_file_then_those_beside_it() -> None:
    """Arguments of the training script come last: their names are anybody's."""
    everything = sources(
        {"args": argparse.Namespace(img_size=96), "pretrained_cfg": config(160)},
        config={"pretrained_cfg": config(128)},
        preprocessor_config={"size": 112},
    )
    without_own = sources({"args": everything.content["args"]}, **_beside(everything))
    without_config = sources(without_own.content, preprocessor_config={"size": 112})

    assert size_of(everything, size_px=192) == (192, "as asked for")
    assert size_of(everything) == (160, "pretrained_cfg in the checkpoint")
    assert size_of(without_own) == (128, "pretrained_cfg in config.json")
    assert size_of(without_config) == (112, "preprocessor_config.json")
    assert size_of(sources(without_own.content)) == (96, "args in the checkpoint")
    assert size_of(sources({})) == (224, "as usual on ImageNet")


def _beside(found: Sources) -> dict[str, Any]:
    return {name.removesuffix(".json"): held for name, held in found.beside.items()}


def test_arguments_that_make_no_sense_say_nothing() -> None:
    """They may be another script's, of the same names."""
    assert size_of(sources({"args": {"mean": "imagenet", "img_size": 96}}))[0] == 224


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"interpolation": "random"}, "interpolation is 'random' (args in the checkpoint), bil"),
        ({"interpolation": "area"}, "interpolation is 'area' (args in the checkpoint), bil"),
        ({"crop_mode": "random"}, "fit is 'random' (args in the checkpoint), crop and fit are"),
        ({"std": 0}, "std is (0.0, 0.0, 0.0) (args in the checkpoint), of values in [0, 1]"),
        ({"mean": [123.7, 116.3, 103.5]}, "mean is (123.7, 116.3, 103.5) (args in the checkpoint)"),
        ({"crop_pct": 3}, "the crop fraction is 3 (args in the checkpoint), it must be from 0.25"),
        ({"crop_pct": 16**5000}, "the crop fraction is inf (args in the checkpoint), it must be"),
        ({"interpolation": ["x"]}, "interpolation is ['x'] (args in the checkpoint), a name is"),
        ({"input_size": 5000}, "invalid manifest: size_px 5000: input should be less than or eq"),
    ],
)
def test_arguments_that_cannot_be_served_are_passed_over_and_said(
    arguments: dict[str, Any], reason: str
) -> None:
    """They may be of training alone; those of another entry count none the less."""
    found = sources({"args": argparse.Namespace(**arguments), "config": {"img_size": 96}})

    resolved = resolve_input(said_of_input(ImportRequest(Path("net.pth"), "net"), found), "small")

    assert resolved.contract == InputContract(size_px=96, fit="crop", shorter_side_px=109)
    assert len(resolved.passed_over) == 1
    assert resolved.passed_over[0].startswith(reason)


def test_a_shorter_side_that_is_asked_for_is_a_crop() -> None:
    """Whatever else a file asks for."""
    found = sources({"pretrained_cfg": config(224) | {"crop_mode": "squash"}})
    request = ImportRequest(Path("net.pth"), "net", shorter_side_px=240)

    contract = resolve_input(said_of_input(request, found), "imagenet").contract

    assert (contract.fit, contract.shorter_side_px) == ("crop", 240)


def test_labels_are_looked_for_in_the_checkpoint_first() -> None:
    """Then in the configuration beside it."""
    found = sources(
        {"hyper_parameters": {"class_names": ["a"]}, "class_to_idx": {"b": 0}},
        config={"id2label": {"0": "c"}, "pretrained_cfg": {"label_names": ["d"]}},
    )

    assert list(found_labels(found)) == [
        ("class_to_idx in the checkpoint", {"b": 0}),
        ("hyper_parameters.class_names in the checkpoint", ["a"]),
        ("id2label in config.json", {"0": "c"}),
        ("pretrained_cfg.label_names in config.json", ["d"]),
    ]


@pytest.mark.parametrize("text", ["", "{", "[1]", "3", "\udcff"])
def test_a_file_beside_that_is_no_configuration_says_nothing(tmp_path: Path, text: str) -> None:
    """Anybody's `config.json` may lie there."""
    (tmp_path / "config.json").write_bytes(text.encode(errors="surrogateescape"))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"size": 224}))

    assert files_beside(tmp_path / "net.pth") == {"preprocessor_config.json": {"size": 224}}
