"""From a decoded image to the model's square of pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.transforms import CenterCrop, Resize

from service.images.contract import InputContract
from service.images.decode import DecodedImage
from service.images.preprocess import preprocess
from tests.sample_images import Picture, gradient, noise, solid

IMAGENET = InputContract(size_px=56, fit="crop", shorter_side_px=64)
WHOLE = InputContract(size_px=64, fit="fit")
RED = (250, 10, 20)


def pixels_of(image: Picture, contract: InputContract) -> Picture:
    """What the model sees of an image, (3, size, size) uint8."""
    return preprocess(DecodedImage.whole(Image.fromarray(image)), contract)


def torchvision_crop(image: Picture, contract: InputContract) -> Picture:
    """What the published ImageNet evaluation does, (3, size, size) uint8."""
    assert contract.shorter_side_px is not None
    interpolation = InterpolationMode(contract.interpolation)
    resize = Resize(contract.shorter_side_px, interpolation)  # type: ignore[no-untyped-call]
    crop = CenterCrop(contract.size_px)  # type: ignore[no-untyped-call]
    cropped = crop(resize(Image.fromarray(image)))
    return np.asarray(cropped).transpose(2, 0, 1)


class TestCrop:
    """`crop`: shorter side to a length, then the centre."""

    @given(
        height=st.integers(1, 160),
        aspect=st.floats(1 / 8, 8),
        size_px=st.integers(1, 64),
        margin_px=st.integers(0, 20),
    )
    @settings(deadline=None)  # times vary with what else the machine does
    def test_it_is_torchvisions_to_the_bit(
        self, height: int, aspect: float, size_px: int, margin_px: int
    ) -> None:
        """The pixels are those of the evaluation that published accuracies come from."""
        image = noise(height, min(8 * height, max(1, -(-height // 8), round(height * aspect))))
        contract = InputContract(size_px=size_px, fit="crop", shorter_side_px=size_px + margin_px)

        pixels = pixels_of(image, contract)

        np.testing.assert_array_equal(pixels, torchvision_crop(image, contract))

    @pytest.mark.parametrize("shape", [(375, 500), (500, 333), (256, 256), (257, 1000), (90, 70)])
    @pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
    def test_every_filter_is_torchvisions(self, shape: tuple[int, int], interpolation: str) -> None:
        """Not a pixel of noise differs."""
        contract = InputContract.model_validate(
            {
                "size_px": 224,
                "fit": "crop",
                "shorter_side_px": 256,
                "interpolation": interpolation,
            }
        )
        image = noise(*shape)

        pixels = pixels_of(image, contract)

        np.testing.assert_array_equal(pixels, torchvision_crop(image, contract))

    @pytest.mark.parametrize("shape", [(20, 400), (300, 11)])
    def test_a_strip_is_torchvisions_to_one_level(self, shape: tuple[int, int]) -> None:
        """Its middle is shown, however long it is."""
        image = noise(*shape)

        pixels = pixels_of(image, IMAGENET)

        expected = torchvision_crop(image, IMAGENET).astype(int)
        np.testing.assert_allclose(pixels.astype(int), expected, atol=1)

    @pytest.mark.parametrize("shape", [(1, 1_000_000), (1_000_000, 1)])
    def test_an_endless_strip_needs_no_endless_memory(self, shape: tuple[int, int]) -> None:
        """Scaled whole, this picture would have four billion pixels."""
        pixels = pixels_of(solid(RED, *shape), IMAGENET)

        np.testing.assert_array_equal(pixels, solid(RED, 56, 56).transpose(2, 0, 1))

    def test_a_pixel_becomes_a_square_of_its_colour(self) -> None:
        """The smallest picture there is can be asked about."""
        pixels = pixels_of(solid(RED, 1, 1), IMAGENET)

        np.testing.assert_array_equal(pixels, solid(RED, 56, 56).transpose(2, 0, 1))


class TestFit:
    """`fit`: the whole picture, padded to a square."""

    @pytest.mark.parametrize(
        ("shape", "rows", "columns"),
        [
            ((200, 100), slice(0, 64), slice(16, 48)),
            ((100, 200), slice(16, 48), slice(0, 64)),
            ((5, 10), slice(16, 48), slice(0, 64)),
            ((100, 300), slice(21, 42), slice(0, 64)),
            ((1, 10_000), slice(31, 32), slice(0, 64)),
            ((10_000, 1), slice(0, 64), slice(31, 32)),
        ],
        ids=["upright", "lying", "small", "odd rest", "horizontal strip", "vertical strip"],
    )
    def test_the_picture_lies_in_the_middle(
        self, shape: tuple[int, int], rows: slice, columns: slice
    ) -> None:
        """The longer side fills the square, the shorter keeps the aspect, at least a pixel."""
        image = gradient(*shape)
        scaled_size = (columns.stop - columns.start, rows.stop - rows.start)
        scaled = Image.fromarray(image).resize(scaled_size, Image.Resampling.BILINEAR)

        pixels = pixels_of(image, WHOLE)

        np.testing.assert_array_equal(pixels[:, rows, columns], np.moveaxis(np.array(scaled), 2, 0))

    def test_the_rest_has_the_colour_of_the_border(self) -> None:
        """A picture on a plain background stays on it, whatever it shows."""
        image = solid(RED, 64, 32)
        image[8:56, 4:28] = noise(48, 24)
        expected = solid(RED, 64, 64)
        expected[:, 16:48] = image

        pixels = pixels_of(image, WHOLE)

        np.testing.assert_array_equal(pixels, expected.transpose(2, 0, 1))

    def test_the_border_colour_is_a_median(self) -> None:
        """A few pixels of another colour at the border do not tint the rest."""
        image = solid(RED, 64, 32)
        image[:20, 0] = 255

        pixels = pixels_of(image, WHOLE)

        np.testing.assert_array_equal(pixels[:, :, 0], solid(RED, 1, 64)[0].T)

    @pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
    def test_a_square_picture_is_only_scaled(self, interpolation: str) -> None:
        """There is nothing to pad."""
        contract = WHOLE.model_copy(update={"interpolation": interpolation})
        resampling = Image.Resampling[interpolation.upper()]
        image = noise(100, 100)

        pixels = pixels_of(image, contract)

        scaled = np.array(Image.fromarray(image).resize((64, 64), resampling))
        np.testing.assert_array_equal(pixels, scaled.transpose(2, 0, 1))

    def test_a_picture_of_the_right_size_is_not_touched(self) -> None:
        """The pixels are the image's own."""
        image = noise(64, 64)

        np.testing.assert_array_equal(pixels_of(image, WHOLE), image.transpose(2, 0, 1))

    @given(height=st.integers(1, 300), width=st.integers(1, 300), size_px=st.integers(1, 80))
    @settings(deadline=None)
    def test_turning_the_picture_turns_the_pixels(
        self, height: int, width: int, size_px: int
    ) -> None:
        """Rows and columns are treated alike; scaling rounds after each, so by one level."""
        contract = InputContract(size_px=size_px, fit="fit")
        image = gradient(height, width)

        turned = pixels_of(np.ascontiguousarray(image.transpose(1, 0, 2)), contract)

        expected = pixels_of(image, contract).transpose(0, 2, 1)
        np.testing.assert_allclose(turned.astype(int), expected.astype(int), atol=1)


@pytest.mark.parametrize("contract", [IMAGENET, WHOLE], ids=["crop", "fit"])
@pytest.mark.parametrize("shape", [(1, 1), (64, 64), (90, 70)])
def test_the_pixels_are_an_array_of_their_own(
    contract: InputContract, shape: tuple[int, int]
) -> None:
    """The queue may keep and fill them."""
    pixels = pixels_of(gradient(*shape), contract)

    assert pixels.shape == (3, contract.size_px, contract.size_px)
    assert pixels.flags.c_contiguous
    assert pixels.flags.owndata
    assert pixels.flags.writeable


@pytest.mark.parametrize("contract", [IMAGENET, WHOLE], ids=["crop", "fit"])
def test_grey_pictures_become_three_equal_channels(contract: InputContract) -> None:
    """Grey is scaled as such: a third of the work, and to the last bit the same pixels."""
    grey = Image.fromarray(noise(90, 70)[..., 0].copy())

    pixels = preprocess(DecodedImage.whole(grey), contract)

    expected = preprocess(DecodedImage.whole(grey.convert("RGB")), contract)
    np.testing.assert_array_equal(pixels, expected, strict=True)
