"""Write the trained network and its card into the model store."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision.models.resnet import ResNet

from recipe.garments import CANVAS_SIZE, GARMENT_PX, LABELS
from recipe.network import CONTRACT, SPEC
from recipe.schedule import Plan
from service.images.contract import InputContract
from service.model.resnet import ResNetSpec, SgeResNet
from service.store.load import list_versions, load_version
from service.store.write import NewVersion, amend_version, write_version

NAME = "fashion-mnist"
TEST_IMAGES = 10_000

CARD = """\
# fashion-mnist, version {version}

SGE-ResNet-18 with {groups} groups, trained from scratch on Fashion-MNIST (Xiao, Rasul, Vollgraf
2017, arXiv:1708.07747; MIT licence) by `model_store/fashion-mnist/recipe/`. It tells ten kinds of
garment from one another and is small enough to ship; it shows the service at work and is no
product for a shop.

- **Input.** {size} x {size} px RGB; the whole picture is fitted in and padded with the median
  colour of its border. Any size and aspect, light or dark ground, grey or colour.
- **Stem.** `small`: a 3x3 convolution of stride 2, no pooling, so that the last block still has
  {last} x {last} positions.
- **Weights.** Convolutions and `fc` are stored as float16; the figures are of these weights.

## Measured

On the 10,000 test images, through the service's own decoding and preprocessing, eager fp32:

| network | as they are | on canvas |
|---|---|---|
{accuracies}

*±*: 95 %, by the number of test images alone. *On canvas*: inverted, enlarged to {garment} px and
placed off-centre on a white canvas of {width} x {height} px. {plain_note}

## Where the masks peak

Share of the canvas pictures on which the strongest position of a block's mean mask has its centre
on the garment. *Chance* is what a position picked at random would score.

| block | positions | gate | similarity | chance |
|---|---|---|---|---|
{peaks}

Masks show where a group enhances its features. They are not an attribution: they do not say
which pixels led to the class.

## Limits

Photographs of clothes on people, several garments in a picture and busy grounds were not trained
on. T-shirt, pullover, coat and shirt are often taken for one another, by people too. The scores
are not calibrated.
"""


PLAIN_NOTE = """Both networks were
trained on the same schedule from the same seed, once each; another seed moves the figures, too."""
NO_PLAIN_NOTE = "The same network without SGE has not been trained yet."


class OtherRecipe(ValueError):
    """A version's network was built or trained in another way than the recipe's."""


def round_to_half(network: ResNet) -> None:
    """Round the weights of convolutions and `fc` to what the store keeps of them."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.weight.copy_(module.weight.half())


def publish(
    network: SgeResNet, contract: InputContract, metrics: dict[str, Any], store: Path
) -> Path:
    """Write the next version.

    Args:
        network: trained, its weights rounded.
        contract: of its input.
        metrics: what `measure` gave for `sge` and, where it was trained, `plain`.
        store: the model store.
    """
    known = [int(folder.name) for folder in list_versions(store / NAME)]
    version = str(max(known, default=0) + 1)
    new = NewVersion(
        name=NAME,
        version=version,
        network=network,
        labels=LABELS,
        input=contract,
        licence="Apache-2.0 (weights), MIT (data set)",
        source="model_store/fashion-mnist/recipe/",
        card=_card(version, network.spec, contract, metrics),
        metrics=metrics,
        half_weights=True,
    )
    return write_version(store, new)


def check_same_recipe(version: Path, plan: Plan) -> None:
    """Make sure that a version is what the recipe would train, so that both may be compared.

    Args:
        version: its folder.
        plan: every step of the recipe.

    Raises:
        OtherRecipe: its architecture, stem, groups, classes or input are not the recipe's, or
            other steps led to it, of another seed, say.
        StoreError: it is not there, or broken.
    """
    manifest = load_version(version).manifest
    if (manifest.spec, manifest.input) != (SPEC, CONTRACT):
        raise OtherRecipe(
            f"{version} has {manifest.spec} and {manifest.input}, "
            f"the recipe trains {SPEC} and {CONTRACT}"
        )
    if manifest.metrics.get("sge", {}).get("plan_sha256") != plan.fingerprint():
        raise OtherRecipe(
            f"{version} was trained by another seed or schedule than seed {plan.seed} and these "
            f"{len(plan.steps)} steps"
        )


def add_plain(version: Path, figures: dict[str, Any]) -> None:
    """Put what the network without SGE reached into a version's manifest and card.

    The card is written anew by today's text. Weights and labels stay as they are.

    Args:
        version: its folder.
        figures: what `measure` gave.

    Raises:
        StoreError: the version is broken, or cannot be written.
    """
    manifest = load_version(version).manifest
    metrics = {**manifest.metrics, "plain": figures}
    card = _card(manifest.version, manifest.spec, manifest.input, metrics)
    amend_version(version, manifest.model_copy(update={"metrics": metrics}), card)


def _card(version: str, spec: ResNetSpec, contract: InputContract, metrics: dict[str, Any]) -> str:
    titles = {"sge": "SGE-ResNet-18", "plain": "the same without SGE"}
    accuracies = [
        f"| {titles[name]} | {_estimate(of['top1_as_is'])} | {_estimate(of['top1_on_canvas'])} |"
        for name, of in metrics.items()
    ]
    sides = {block.name: block.height for block in spec.blocks()}
    peaks = [
        f"| {name} | {sides[name]} x {sides[name]} | {score['gate']:.1%} | "
        f"{score['similarity']:.1%} | {score['chance']:.1%} |"
        for name, score in metrics["sge"]["peaks_on_garment"].items()
    ]
    return CARD.format(
        version=version,
        groups=spec.groups,
        size=contract.size_px,
        last=list(sides.values())[-1],
        accuracies="\n".join(accuracies),
        garment=GARMENT_PX,
        width=CANVAS_SIZE[0],
        height=CANVAS_SIZE[1],
        plain_note=PLAIN_NOTE if "plain" in metrics else NO_PLAIN_NOTE,
        peaks="\n".join(peaks),
    )


def _estimate(accuracy: float) -> str:
    """An accuracy with its 95 % interval, as a binomial share of the test images."""
    deviation = math.sqrt(accuracy * (1 - accuracy) / TEST_IMAGES)
    return f"{accuracy:.2%} ± {1.96 * deviation:.2%}"
