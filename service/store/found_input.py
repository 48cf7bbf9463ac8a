"""What libraries' files say of a model's input: timm's, transformers' and training scripts'."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.errors import BadManifest
from service.images.contract import Channels
from service.store.preprocessing import Preprocessing

_PILLOW = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # its numbers of filters

# The first digits of the SHA-256 of torchvision's second weights (IMAGENET1K_V2) of ResNet-50,
# 101 and 152, which are in their files' names, too.
_TORCHVISION_V2 = ("11ad3fa6", "cd907fc2", "f82ba261")


def of_timm(config: Mapping[str, Any], origin: str) -> Preprocessing:
    """Read timm's `pretrained_cfg`, or the arguments of its or torchvision's training script.

    Raises:
        BadManifest: it asks for what cannot be served.
    """
    mode = config.get("crop_mode")
    size = config.get("input_size") or config.get("img_size") or config.get("val_crop_size")
    return Preprocessing(
        origin,
        size_px=_side(size, origin),
        shorter_side_px=_side(config.get("val_resize_size"), origin),
        crop_fraction=_number(config.get("crop_pct")),
        fit=_fit_of(mode, config.get("crop_pct")),
        interpolation=_interpolation(config.get("interpolation") or None),
        mean=_channels("mean", config.get("mean"), origin),
        std=_channels("std", config.get("std"), origin),
    )


def of_transformers(config: Mapping[str, Any], origin: str) -> Preprocessing:
    """Read a `preprocessor_config.json` of transformers.

    Raises:
        BadManifest: it asks for what cannot be served.
    """
    size, fraction = config.get("size"), _number(config.get("crop_pct"))
    shortest = size.get("shortest_edge") if isinstance(size, Mapping) else size
    side = _side(config.get("crop_size") if config.get("do_center_crop") else None, origin)
    is_squashed = shortest is None and side is None and fraction is None
    return Preprocessing(
        origin,
        size_px=side or _side(size if shortest is None else shortest, origin),
        shorter_side_px=_side(shortest, origin) if side and fraction is None else None,
        crop_fraction=1.0 if side is None and fraction is None else fraction,
        fit="squash" if is_squashed else "crop",
        interpolation=_interpolation(config.get("resample")),
        mean=_channels("mean", config.get("image_mean"), origin),
        std=_channels("std", config.get("image_std"), origin),
    )


def of_torchvision(sha256: str) -> Preprocessing | None:
    """Know torchvision's own weights that were evaluated otherwise than the first ones."""
    if not sha256.startswith(_TORCHVISION_V2):
        return None
    return Preprocessing("torchvision's of IMAGENET1K_V2", size_px=224, shorter_side_px=232)


def _side(value: Any, origin: str) -> int | None:
    """One side of `224`, `[3, 224, 224]`, `[224, 224]` or `{"height": 224, "width": 224}`."""
    if isinstance(value, Mapping):
        value = [value[name] for name in ("height", "width") if name in value]
    sides = [*value][-2:] if isinstance(value, list | tuple) else [value]
    if len({*sides}) > 1:
        raise BadManifest(f"the input is {sides[0]} x {sides[1]} ({origin}), it must be a square")
    return sides[0] if sides and isinstance(sides[0], int) else None


def _fit_of(mode: Any, fraction: Any) -> str | None:
    if mode not in (None, "", "center"):
        return str(mode)
    return None if fraction is None and mode is None else "crop"


def _interpolation(value: Any) -> str | None:
    return None if value is None else _PILLOW.get(value, str(value))


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _channels(name: str, value: Any, origin: str) -> Channels | None:
    if value is None:
        return None
    values = [*value] if isinstance(value, list | tuple) else [value]
    numbers = [float(number) for number in values if isinstance(number, int | float)]
    if len(numbers) == len(values) == 1:
        numbers *= 3
    if len(numbers) != 3 or len(values) not in (1, 3):
        raise BadManifest(f"{name} is {value!r:.80} ({origin}), three numbers are needed")
    return numbers[0], numbers[1], numbers[2]
