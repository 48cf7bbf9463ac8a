"""What an import says, and that a report alone writes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from service.commands.import_model import run
from service.commands.importing.request import ImportRequest
from service.config import Settings
from service.errors import BadCheckpoint, BadManifest
from service.store.load import load_version
from tests.model.foreign.states import arguments, half, optimiser, state_of, under, worse
from tests.running import grey
from tests.store_fixtures import pickled

Report = Callable[..., list[str]]


@pytest.fixture
def report(tmp_path: Path) -> Report:
    """Imports a file of some content into a store, and gives what was said."""

    def imported(content: dict[str, Any], file_name: str = "net.pt", **asked: Any) -> list[str]:
        said: list[str] = []
        (tmp_path / file_name).write_bytes(pickled(content))
        usual: dict[str, Any] = {"size_px": 32, "stem": "small"}
        request = ImportRequest(tmp_path / file_name, "mine", **(usual | asked))
        settings = Settings(model_store=tmp_path / "store")
        assert run(settings, request, said.append) == 0
        return [line.replace(str(tmp_path), "~") for line in said]

    return imported


def test_everything_is_said_before_anything_is_written(report: Report, tmp_path: Path) -> None:
    """What is read and left out, what the network is and why, the input, the labels, what next."""
    content = {
        "epoch": 9,
        "state_dict": under("module.", worse(state_of())),
        "model_ema": state_of(),
        "optimizer": optimiser(),
        "args": arguments(),
        "class_to_idx": {"gnu": 2, "dog": 1, "cat": 0},
        "pretrained_cfg": {"crop_pct": 1.0, "interpolation": "bicubic"},
        "note\x1b[2J": "x",
    }

    said = report(content, is_dry_run=True)

    assert said[0].startswith("file          ~/net.pt, 0.")
    assert said[1:] == [
        "weights       model_ema: 138 tensors, 11.2 million float32",
        "              averaged weights, preferred to state_dict.module",
        "left out      epoch: 9",
        "              state_dict: 138 tensors",
        "              optimizer: 3 tensors",
        "              args: Namespace",
        "              class_to_idx: 3 values; read for the labels",
        "              pretrained_cfg: 2 values; read for the input",
        "              note?[2J: x",
        "architecture  sge_resnet18, inferred: 2, 2, 2, 2 basic blocks, 3 classes",
        "              small stem by its 3x3 convolution; assumed are stride 2 and no pooling",
        "SGE           8 groups, part of the checkpoint",
        (
            "input         32 x 32 px RGB, the centre of the picture after scaling its shorter "
            "side to 32 px, bicubic; ImageNet mean and standard deviation"
        ),
        (
            "              size: as asked for; fit, interpolation, shorter side: pretrained_cfg in "
            "the checkpoint; mean, std: as usual on ImageNet"
        ),
        "labels        cat, dog, gnu; class_to_idx in the checkpoint",
        "nothing is written; without --dry-run it would be ~/store/mine/1",
        "next: the same without --dry-run",
    ]
    assert not (tmp_path / "store").exists()


def test_an_import_says_the_same_and_what_to_run_next(report: Report, tmp_path: Path) -> None:
    """With the store's folder where it is not the usual one."""
    dry = report(state_of(is_plain=True), is_dry_run=True)

    said = report(state_of(is_plain=True))

    assert said[:-2] == dry[:-2]
    assert said[4].startswith(
        "SGE           64 groups, inserted so that the function stays the same"
    )
    assert said[-2:] == [
        "imported ~/store/mine/1",
        "next: sge-serve predict PICTURE --model mine --version 1 --model-store ~/store",
    ]
    assert load_version(tmp_path / "store" / "mine" / "1").manifest.sge_inserted


def test_an_input_that_nobody_says_is_told(report: Report) -> None:
    """It is a guess, however usual."""
    said = report(state_of(), size_px=None, is_dry_run=True)

    assert (
        "              nothing says so: compare it with the transforms of your validation" in said
    )
    assert "              --labels names them" in said


def test_arguments_that_are_passed_over_are_said(report: Report) -> None:
    """Their script may have meant another thing by them."""
    said = report(state_of() | {"args": {"interpolation": "random"}}, is_dry_run=True)

    assert (
        "              passed over as a whole: interpolation is 'random' (args in the checkpoint), "
        "bilinear "
        "and bicubic are served: choose one by --interpolation"
    ) in said


def test_a_stem_that_weights_do_not_tell_needs_a_word(report: Report, tmp_path: Path) -> None:
    """Or a picture that it answers right: one of stride 1 has the same weights."""
    picture = tmp_path / "grey.png"
    picture.write_bytes(grey(90))

    with pytest.raises(BadCheckpoint) as unsaid:
        report(state_of(), stem=None)
    with pytest.raises(BadCheckpoint) as wrong:
        report(state_of(), stem="imagenet")
    with pytest.raises(BadCheckpoint) as unexpected:
        report(state_of(), stem=None, expected=tuple(f"{picture}={index}" for index in range(3)))

    assert unsaid.value.message == (
        "net.pt has a stem of 3x3, and no weight tells its stride; stride 2 and no pooling are "
        "assumed: say --stem small if that is yours, or have it checked by --expect PICTURE=CLASS. "
        "A stem of stride 1, as for CIFAR, cannot be served"
    )
    assert wrong.value.message == "the stem is small by its convolution, not imagenet"
    best = unexpected.value.message.partition(": class ")[2][0]  # after the picture's name
    assert report(state_of(), stem=None, expected=(f"{picture}={best}",))
    assert (tmp_path / "store" / "mine" / "1").is_dir()


def test_half_precision_is_kept(report: Report, tmp_path: Path) -> None:
    """The store's file holds convolutions as the checkpoint does, not twice as large."""
    said = report(half(torch.float16))

    stored = safetensors.torch.load_file(tmp_path / "store" / "mine" / "1" / "model.safetensors")
    assert "weights       138 tensors, 11.2 million float16" in said
    assert stored["conv1.weight"].dtype == torch.float16
    assert torch.equal(stored["conv1.weight"], half(torch.float16)["conv1.weight"])


@pytest.mark.parametrize("is_dry_run", [False, True])
def test_a_model_that_answers_otherwise_is_not_published(
    report: Report, tmp_path: Path, *, is_dry_run: bool
) -> None:
    """It is refused with what it answered; one that answers as expected is imported."""
    picture = tmp_path / "grey.png"
    picture.write_bytes(grey(90))

    with pytest.raises(BadCheckpoint) as caught:
        report(state_of(), expected=(f"{picture}=0", f"{picture}=1"), is_dry_run=is_dry_run)

    start = f"not what is expected: {picture}: "
    assert caught.value.message.startswith(start)
    assert not (tmp_path / "store").exists()
    best = " ".join(caught.value.message.removeprefix(start).split()[:2])
    said = report(state_of(), expected=(f"{picture}={best}",), is_dry_run=is_dry_run)
    assert [line.startswith(f"answers       ~/grey.png: {best} ") for line in said].count(True) == 1


def test_preprocessing_is_written_into_the_manifest(report: Report, tmp_path: Path) -> None:
    """All that a flag says."""
    report(
        state_of(),
        size_px=48,
        crop_fraction=0.8,
        interpolation="bicubic",
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
    )

    manifest = json.loads((tmp_path / "store" / "mine" / "1" / "manifest.json").read_bytes())
    assert manifest["input"] == {
        "size_px": 48,
        "fit": "crop",
        "shorter_side_px": 60,
        "interpolation": "bicubic",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.25, 0.25, 0.25],
    }


@pytest.mark.parametrize(
    ("asked", "error", "reason"),
    [
        ({"architecture": "SGE-ResNet34"}, BadCheckpoint, "the weights do not fit sge_resnet34 wi"),
        ({"mean": (123.0, 117.0, 104.0)}, BadManifest, "mean is (123.0, 117.0, 104.0) (as asked"),
        ({"part": "ema"}, BadCheckpoint, "net.pt has no single network 'ema', there are: top"),
    ],
)
def test_what_is_asked_for_is_checked(
    report: Report, asked: dict[str, Any], error: type[Exception], reason: str
) -> None:
    """One line says why not."""
    with pytest.raises(error) as caught:
        report(state_of(), **asked)

    assert str(caught.value).startswith(reason)
