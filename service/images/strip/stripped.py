"""What is left of a file, and how many parts it may be made of."""

from __future__ import annotations

from dataclasses import dataclass

from service.errors import ImageTooLarge

MOST_PARTS = 65_536  # segments, chunks, blocks or strips; a part costs a microsecond or ten


@dataclass(frozen=True, slots=True)
class Stripped:
    """What a decoder needs of a file.

    Attributes:
        content: a file of the same format.
        orientation: as EXIF counts them, 1 to 8; what is beyond leaves the picture as it is.
        decoder_bytes: of memory that decoding takes beside the picture it makes, at most.
    """

    content: bytes
    orientation: int = 0
    decoder_bytes: int = 0


def too_many_parts() -> ImageTooLarge:
    """What to raise of a file with more than `MOST_PARTS`."""
    return ImageTooLarge(f"image consists of over {MOST_PARTS} parts, which is the limit")
