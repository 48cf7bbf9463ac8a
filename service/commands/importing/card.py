"""The card of an imported model: what is known of it, and what is not."""

from __future__ import annotations

import math

from service.images.contract import IMAGENET_MEAN, IMAGENET_STD, InputContract
from service.store.write import NewVersion

_CARD = """\
# {name}, version {version}

{architecture}: {classes} classes, {groups} channel groups in every block.

- Imported from {origin}.
- Source: {source}.
- Licence: {licence}.
- Input: {input}
- Labels: {labels}.
- SGE: {sge}.

Nothing was measured at import: how accurate the model is, and what it is fit for, is for its \
source to say. Its masks show where each channel group enhances its features; they do not explain \
why a class was chosen.
"""
_TRAINED = "part of the checkpoint"
_INSERTED = (
    "not part of the checkpoint, inserted at import so that the function stays the same. Every "
    "gate is the same number, {gate:.3f}, and shows nothing; the similarity maps do"
)


def write_card(new: NewVersion, origin: str, labels: str, said: str) -> str:
    """Write the card.

    Args:
        new: the version; its card is not looked at.
        origin: of the weights.
        labels: where they come from.
        said: who says what of the input.
    """
    spec = new.network.spec
    return _CARD.format(
        name=new.name,
        version=new.version,
        architecture=spec.architecture,
        classes=spec.classes,
        groups=spec.groups,
        origin=origin,
        source=new.source,
        licence=new.licence,
        input=f"{describe_input(new.input)}. {said}.",
        labels=labels,
        sge=_INSERTED.format(gate=gate_of(new)) if new.sge_inserted else _TRAINED,
    )


def gate_of(new: NewVersion) -> float:
    """The one gate of an inserted SGE."""
    return 1 / (1 + math.exp(-new.network.spec.initial_bias))


def describe_input(contract: InputContract) -> str:
    """Say in words how a picture becomes the model's pixels."""
    size = contract.size_px
    fit = (
        f"the centre of the picture after scaling its shorter side to {contract.shorter_side_px} px"
        if contract.fit == "crop"
        else "the whole picture, padded to a square with the colour of its border"
    )
    is_usual = (contract.mean, contract.std) == (IMAGENET_MEAN, IMAGENET_STD)
    values = (
        "ImageNet mean and standard deviation"
        if is_usual
        else f"mean {_numbers(contract.mean)}, standard deviation {_numbers(contract.std)}"
    )
    return f"{size} x {size} px RGB, {fit}, {contract.interpolation}; {values}"


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
