"""AVIF: its decoder leaves out by itself what is beside the picture; its cost is in the boxes."""

from __future__ import annotations

import re

from service.images.strip.stripped import Stripped

_SIZE = re.compile(rb"ispe\0{4}(.{4})(.{4})", re.DOTALL)
_CODEC = re.compile(rb"av1C.{2}(.)", re.DOTALL)
_HIGH, _MONOCHROME, _HALF_ACROSS, _HALF_DOWN = 0x40, 0x10, 0x08, 0x04
_BESIDE_PLANES = 5  # bytes of a pixel: RGBA that is handed over, and what a frame's decoder notes


def strip_avif(data: bytes) -> Stripped:
    """Keep all of it; a file that needs more than its boxes say is none that encoders write."""
    sizes = [int.from_bytes(m[1]) * int.from_bytes(m[2]) for m in _SIZE.finditer(data)]
    flags = {m[1][0] for m in _CODEC.finditer(data)}
    planes = [_plane_bytes(flag) for flag in flags] or [6.0]
    alpha = min(planes) if len(planes) > 1 else 0.0
    a_pixel = 2 * max(planes) + alpha + _BESIDE_PLANES  # twice: grain is added to a copy
    return Stripped(data, decoder_bytes=int(max(sizes, default=0) * a_pixel))


def _plane_bytes(flags: int) -> float:
    """Bytes of a pixel in a decoder's planes, colours at half the size where it says so."""
    sample = 2 if flags & _HIGH else 1
    if flags & _MONOCHROME:
        return sample
    colours = 2 / (1 + bool(flags & _HALF_ACROSS)) / (1 + bool(flags & _HALF_DOWN))
    return sample * (1 + colours)
