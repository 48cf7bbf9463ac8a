"""How large a model looks at a picture."""

from __future__ import annotations

import pytest

from service.images.contract import InputContract
from service.images.resize import scaled_size

IMAGENET = InputContract(size_px=224, fit="crop", shorter_side_px=256)
WHOLE = InputContract(size_px=56, fit="fit")


@pytest.mark.parametrize(
    ("contract", "stored", "scaled"),
    [
        (IMAGENET, (500, 375), (341, 256)),
        (IMAGENET, (375, 500), (256, 341)),
        (IMAGENET, (10, 10), (256, 256)),
        (WHOLE, (260, 200), (56, 43)),
        (WHOLE, (200, 260), (43, 56)),
        (WHOLE, (1, 10_000), (1, 56)),
    ],
)
def test_one_side_gets_the_contracts_length_and_the_aspect_is_kept(
    contract: InputContract, stored: tuple[int, int], scaled: tuple[int, int]
) -> None:
    """`crop` goes by the shorter side and `fit` by the longer one, which stays a pixel wide."""
    assert scaled_size(*stored, contract) == scaled


@pytest.mark.parametrize("contract", [IMAGENET, WHOLE], ids=["crop", "fit"])
@pytest.mark.parametrize("coarser", [2, 4, 8])
def test_a_coarser_picture_is_scaled_to_the_same_size(
    contract: InputContract, coarser: int
) -> None:
    """Width and height in pixels of a scaled JPEG say the same as those in stored pixels."""
    assert scaled_size(4007 / coarser, 3001 / coarser, contract) == scaled_size(
        4007, 3001, contract
    )
