"""How a picture becomes a model's pixels: by what a person says, a file says, or publishers do."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from service.errors import BadManifest
from service.images.contract import IMAGENET_MEAN, IMAGENET_STD, Channels, InputContract
from service.store.files import describe_invalid_manifest

USUAL = "as usual on ImageNet"
FITS = ("crop", "fit")
INTERPOLATIONS = ("bilinear", "bicubic")
CROP_FRACTION = 0.875  # 224 of 256 px, the published evaluation on ImageNet
SMALLEST_FRACTION = 0.25  # a crop of less shows next to nothing of a picture
_LARGEST_PX = 10**6  # beyond it a side is refused, and a float need not hold it
SMALL_STEM_PX = 64  # what a stem of 3x3 without pooling is for


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What somebody says of a model's input; None where nothing is said.

    Attributes:
        origin: who says it.
        shorter_side_px: to which a picture is scaled before its centre is cut out.
        crop_fraction: the same, as the side of the crop by that shorter side.
        passed_over: why nothing is taken of what is said.
    """

    origin: str
    size_px: int | None = None
    shorter_side_px: int | None = None
    crop_fraction: float | None = None
    fit: str | None = None
    interpolation: str | None = None
    mean: Channels | None = None
    std: Channels | None = None
    passed_over: str | None = None

    @property
    def says_scale(self) -> bool:
        """Whether it says how far a picture is scaled before it is cropped."""
        return self.shorter_side_px is not None or self.crop_fraction is not None


@dataclass(frozen=True, slots=True)
class ResolvedInput:
    """An input contract, who says what of it, by the contract's fields, and what is passed over."""

    contract: InputContract
    origins: dict[str, str]
    passed_over: tuple[str, ...] = ()

    def who_says(self) -> str:
        """Say in words who says what."""
        by_origin: dict[str, list[str]] = {}
        for name, origin in self.origins.items():
            by_origin.setdefault(origin, []).append(name.removesuffix("_px").replace("_", " "))
        return "; ".join(f"{', '.join(names)}: {origin}" for origin, names in by_origin.items())


def resolve_input(said: list[Preprocessing], stem: str) -> ResolvedInput:
    """Make a contract: of each thing, what is said first counts.

    Args:
        said: the person's first. What nobody says is as in the published evaluation on ImageNet.
        stem: of the network; one for small pictures is taken to look at 64 px.

    Raises:
        BadManifest: what is said makes no sense.
    """
    usual = Preprocessing(
        USUAL,
        size_px=SMALL_STEM_PX if stem == "small" else 224,
        crop_fraction=CROP_FRACTION,
        fit="crop",
        interpolation="bilinear",
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    )
    everybody = [*said, usual]
    chosen = {
        name: next(one for one in everybody if getattr(one, name) is not None)
        for name in ("size_px", "fit", "interpolation", "mean", "std")
    }
    values: dict[str, Any] = {name: getattr(one, name) for name, one in chosen.items()}
    for name, served in (("fit", FITS), ("interpolation", INTERPOLATIONS)):
        if values[name] not in served:
            raise BadManifest(
                f"{name} is {values[name]!r:.40} ({chosen[name].origin}), {' and '.join(served)} "
                f"are served: choose one by --{name}"
            )
    if values["fit"] == "crop":
        scale = next(one for one in everybody if one.says_scale)
        values["shorter_side_px"] = _shorter_side(scale, values["size_px"])
        chosen["shorter_side_px"] = scale
    elif chosen["fit"].says_scale:
        raise BadManifest("a shorter side and a crop fraction belong to the fit crop")
    origins = {name: one.origin for name, one in chosen.items()}
    passed_over = tuple(one.passed_over for one in said if one.passed_over is not None)
    return ResolvedInput(_contract_of(values, origins), origins, passed_over)


def _shorter_side(said: Preprocessing, size_px: int) -> int:
    """What is said, in proportion where it was said of another size; a fraction as timm does."""
    size_px = min(size_px, _LARGEST_PX)
    if said.shorter_side_px is not None:
        shorter = min(said.shorter_side_px, _LARGEST_PX)
        of_size = min(said.size_px or size_px, _LARGEST_PX)
        shorter = shorter if of_size == size_px else round(shorter * size_px / of_size)
    else:
        fraction = CROP_FRACTION if said.crop_fraction is None else said.crop_fraction
        if not SMALLEST_FRACTION <= fraction <= 1:
            raise BadManifest(
                f"the crop fraction is {fraction:g} ({said.origin}), it must be from "
                f"{SMALLEST_FRACTION} to 1"
            )
        shorter = math.floor(size_px / fraction)
    if shorter * SMALLEST_FRACTION > size_px:
        limit = round(size_px / SMALLEST_FRACTION)
        raise BadManifest(f"the shorter side is {shorter} px, for {size_px} at most {limit}")
    return shorter


def _contract_of(values: dict[str, Any], origins: dict[str, str]) -> InputContract:
    for name, lowest in (("mean", 0.0), ("std", 1e-3)):
        if not all(lowest <= value <= 1 for value in values[name]):  # NaN is neither
            raise BadManifest(
                f"{name} is {values[name]} ({origins[name]}), of values in [0, 1] it must be from "
                f"{lowest:g} to 1: divide what is said of 0 to 255 by 255"
            )
    try:
        return InputContract(**values)
    except ValidationError as error:
        raise BadManifest(describe_invalid_manifest(error)) from error
