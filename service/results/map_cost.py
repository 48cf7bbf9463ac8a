"""What maps come to in an answer, before any of them is drawn."""

from __future__ import annotations

from dataclasses import dataclass

from service.results.query import MaskFormat

JSON_BYTES = 16  # of a float32 and its comma
NPY_HEAD_BYTES = 128
PNG_HEAD_BYTES = 1024  # and of a line of incompressible pixels what zlib adds


@dataclass(frozen=True, slots=True)
class MapCost:
    """What the maps of an image come to.

    Attributes:
        pictures: PNG files; none where numbers are asked for.
        answer_bytes: that they take in the answer, at most.
    """

    pictures: int
    answer_bytes: int

    def __add__(self, other: MapCost) -> MapCost:
        return MapCost(self.pictures + other.pictures, self.answer_bytes + other.answer_bytes)


def cost_of_maps(maps: int, positions: int, form: MaskFormat, side_px: int) -> MapCost:
    """Tell what maps come to that are answered together.

    Args:
        maps: how many.
        positions: numbers of each.
        form: how they are answered.
        side_px: S, of the pixels over which heat is laid.
    """
    numbers = maps * positions
    match form:
        case "json":
            return MapCost(0, numbers * JSON_BYTES)
        case "npy":
            return MapCost(0, _in_base64(4 * numbers + NPY_HEAD_BYTES))
        case "png":
            return MapCost(maps, _in_base64(numbers + PNG_HEAD_BYTES * maps))
        case "overlay":
            one = cost_of_image(side_px)
            return MapCost(maps, maps * one.answer_bytes)


def cost_of_image(side_px: int) -> MapCost:
    """Tell what a picture as large as the model's pixels comes to."""
    return MapCost(1, _in_base64(3 * side_px**2 + PNG_HEAD_BYTES))


def _in_base64(size_bytes: int) -> int:
    return size_bytes * 4 // 3 + 4
