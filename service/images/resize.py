"""How large a model looks at a picture, before it crops or pads it to its square."""

from __future__ import annotations

from service.images.contract import InputContract

_LONGEST_WHOLE = 16  # times the shorter side


def scaled_size(width: float, height: float, contract: InputContract) -> tuple[int, int]:
    """Give the width and height to which a picture is scaled, each at least 1 px.

    `crop` brings the shorter side to `shorter_side_px` and rounds the other one down, as
    torchvision's `Resize` does; `fit` brings the longer side to `size_px`.

    Args:
        width: of the picture, in any unit: only the ratio to its height counts.
        height: in the same unit.
        contract: the model's.
    """
    if contract.fit == "crop":
        shorter = contract.shorter_side_px or contract.size_px
        return _scaled_side(width, height, shorter), _scaled_side(height, width, shorter)
    scale = contract.size_px / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def is_strip(width: int, height: int) -> bool:
    """Whether a picture is so long that of it only what a crop will show is scaled."""
    return max(width, height) > _LONGEST_WHOLE * min(width, height)


def _scaled_side(side: float, other_side: float, shorter: int) -> int:
    """Length of a side once the shorter of both is `shorter`."""
    return shorter if side <= other_side else int(shorter * side // other_side)
