"""Write the trained network and its card into the model store."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import nn

from recipe.evidence import CURVES_OF, evidence_rows
from recipe.garments import CANVAS_SIZE, GARMENT_PX, LABELS
from recipe.network import CONTRACT, SPEC
from service.model.resnet import SgeResNet
from service.store.load import list_versions
from service.store.write import NewVersion, write_version

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
| SGE-ResNet-18 | {as_is} | {on_canvas} |

*±*: 95 %, by the number of test images alone. *On canvas*: inverted, enlarged to {garment} px and
placed off-centre on a white canvas of {width} x {height} px.

## Where the masks peak

Share of the canvas pictures on which the strongest position of a block's mean mask has its centre
on the garment. *Chance* is what a position picked at random would score.

| block | positions | gate | similarity | chance |
|---|---|---|---|---|
{peaks}

Masks show where a group enhances its features. They are not an attribution: they do not say
which pixels led to the class.

## Where the evidence lies

An attribution (`attribution=top`) is the exact share of each position in the logit of the
predicted class, on {last} x {last} positions. On the same canvas pictures, beside mean gates and
noise as coarse:

| map | peak on the garment | mass on the garment | deletion | insertion |
|---|---|---|---|---|
{evidence}

*Mass*: the share of what is above 0, the map scaled bilinearly to the picture (of gates, of what
is above the smallest). *Deletion*, *insertion* (Petsiuk et al. 2018, arXiv:1806.07421): the mean
score of the predicted class while pixels turn white, or come back from white, those of the largest
numbers first; the sooner the score falls, or rises, the better the map; of {curves} pictures.
What an attribution costs is measured in `docs/benchmarks.md`: under 1 % of a pass.

## Limits

Photographs of clothes on people, several garments in a picture and busy grounds were not trained
on. T-shirt, pullover, coat and shirt are often taken for one another, by people too. The scores
are not calibrated.
"""


def round_to_half(network: nn.Module) -> None:
    """Round the weights of convolutions and `fc` to what the store keeps of them."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.weight.copy_(module.weight.half())


def publish(network: SgeResNet, figures: dict[str, Any], store: Path) -> Path:
    """Write the next version and return its folder.

    Args:
        network: trained, its weights rounded.
        figures: what `measure` and `measure_evidence` gave, and of which plan.
        store: the model store.
    """
    known = [int(folder.name) for folder in list_versions(store / NAME)]
    version = str(max(known, default=0) + 1)
    new = NewVersion(
        name=NAME,
        version=version,
        network=network,
        labels=LABELS,
        input=CONTRACT,
        licence="Apache-2.0 (weights), MIT (data set)",
        source="model_store/fashion-mnist/recipe/",
        card=render_card(version, figures),
        metrics={"sge": figures},
        half_weights=True,
    )
    return write_version(store, new)


def render_card(version: str, figures: dict[str, Any]) -> str:
    """The text of a version's model card.

    Args:
        version: its number.
        figures: what `measure` and, as `evidence`, `measure_evidence` gave.
    """
    sides = {block.name: block.height for block in SPEC.blocks()}
    peaks = [
        f"| {name} | {sides[name]} x {sides[name]} | {score['gate']:.1%} | "
        f"{score['similarity']:.1%} | {score['chance']:.1%} |"
        for name, score in figures["peaks_on_garment"].items()
    ]
    return CARD.format(
        version=version,
        groups=SPEC.groups,
        size=CONTRACT.size_px,
        last=list(sides.values())[-1],
        as_is=with_interval(figures["top1_as_is"]),
        on_canvas=with_interval(figures["top1_on_canvas"]),
        garment=GARMENT_PX,
        width=CANVAS_SIZE[0],
        height=CANVAS_SIZE[1],
        peaks="\n".join(peaks),
        evidence=evidence_rows(figures["evidence"]),
        curves=f"{CURVES_OF:,}",
    )


def with_interval(accuracy: float) -> str:
    """An accuracy with its 95 % interval, as a binomial share of the test images."""
    deviation = math.sqrt(accuracy * (1 - accuracy) / TEST_IMAGES)
    return f"{accuracy:.2%} ± {1.96 * deviation:.2%}"
