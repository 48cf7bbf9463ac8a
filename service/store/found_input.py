"""What libraries' files say of a model's input: timm's, transformers' and training scripts'."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping
from typing import Any

from service.errors import BadManifest
from service.images.contract import Channels
from service.store.preprocessing import Preprocessing

UNSCALED = "a cut without scaling"  # what fit is called where pictures are not scaled
_RESCALED = 1 / 255  # values in [0, 1] by those of 8 bits
_LARGEST = 10**9  # of a number that means something here

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
    sizes = (config.get(name) for name in ("input_size", "img_size", "val_crop_size"))
    size = next(
        (one for one in sizes if isinstance(one, int | list | tuple | Mapping) and one), None
    )
    return Preprocessing(
        origin,
        size_px=_side(size, origin),
        shorter_side_px=_side(config.get("val_resize_size"), origin),
        crop_fraction=_number(config.get("crop_pct")),
        fit=_fit_of(mode, config.get("crop_pct"), origin),
        interpolation=_interpolation(config.get("interpolation"), origin),
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
    is_normalised = config.get("do_normalize") is not False
    _refuse_other_scale(config, origin)
    is_squashed = shortest is None and side is None and fraction is None
    return Preprocessing(
        origin,
        size_px=side or _side(size if shortest is None else shortest, origin),
        shorter_side_px=_side(shortest, origin) if side and fraction is None else None,
        crop_fraction=1.0 if side is None and fraction is None else fraction,
        fit=UNSCALED if config.get("do_resize") is False else "squash" if is_squashed else "crop",
        interpolation=_interpolation(config.get("resample"), origin),
        mean=_channels("mean", config.get("image_mean") if is_normalised else 0.0, origin),
        std=_channels("std", config.get("image_std") if is_normalised else 1.0, origin),
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
    if not sides or not all(isinstance(side, int) for side in sides):
        return None
    if len({*sides}) > 1:
        raise BadManifest(f"the input is {sides[0]} x {sides[1]} ({origin}), it must be a square")
    return int(sides[0])


def _fit_of(mode: Any, fraction: Any, origin: str) -> str | None:
    if mode in (None, "", "center"):
        return None if fraction is None and mode is None else "crop"
    return _name("crop_mode", mode, origin)


def _interpolation(value: Any, origin: str) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, int) and value in _PILLOW:
        return _PILLOW[value]
    return _name("interpolation", value, origin)


def _name(of: str, value: Any, origin: str) -> str:
    if not isinstance(value, str):
        raise BadManifest(f"{of} is {_shown(value)} ({origin}), a name is needed")
    return value


def _number(value: Any) -> float | None:
    if not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < _LARGEST else math.inf


def _shown(value: Any) -> str:
    """A value in few letters, however much it holds."""
    return f"{reprlib.repr(value):.80}"


def _refuse_other_scale(config: Mapping[str, Any], origin: str) -> None:
    """Refuse values that are scaled otherwise than to [0, 1] before they are normalised."""
    factor = config.get("rescale_factor")
    if config.get("do_rescale") is False:
        factor = 1
    elif factor is None:
        return
    number = _number(factor)
    if number is None or not math.isclose(number, _RESCALED, rel_tol=1e-3):
        raise BadManifest(
            f"values are multiplied by {_shown(factor)} ({origin}), by 1/255 is served: where the "
            "file is another network's, take it away"
        )


def _channels(name: str, value: Any, origin: str) -> Channels | None:
    if value is None:
        return None
    values = [*value] if isinstance(value, list | tuple) else [value]
    numbers = [number for entry in values if (number := _number(entry)) is not None]
    if len(numbers) == len(values) == 1:
        numbers *= 3
    if len(numbers) != 3 or len(values) not in (1, 3):
        raise BadManifest(f"{name} is {_shown(value)} ({origin}), three numbers are needed")
    return numbers[0], numbers[1], numbers[2]
