"""Whose the images inside are, and who has more than a share of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

PRESENT_S = 10.0  # a client counts for so long after it came, as one that was refused comes again


class FairShare:
    """The images inside by their clients, each of which may have as many as the others.

    A client's share is the images inside over the clients that are present: those that have images
    inside, and those that came lately, so that one who finds the room full of another's images
    comes in when they have left. Whoever is alone has everything, and never more than that.

    Args:
        clock: the present moment in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._images: Counter[str] = Counter()  # of those that have any
        self._came: dict[str, float] = {}  # who came lately, and when; who came last is last

    def come(self, client: str) -> None:
        """Note that a client asks for something."""
        now = self._clock()
        self._came.pop(client, None)
        self._came[client] = now
        while now - self._came[oldest := next(iter(self._came))] > PRESENT_S:
            del self._came[oldest]

    def count(self, client: str, images: int) -> None:
        """Count images of a client in, or out where they are fewer than none."""
        self._images[client] += images
        if not self._images[client]:
            del self._images[client]

    def images_of(self, client: str) -> int:
        """How many images of a client are inside."""
        return self._images[client]

    @property
    def present(self) -> int:
        """How many clients there are at present."""
        return len(self._images.keys() | self._came.keys())

    def is_exceeded_by(self, client: str) -> bool:
        """Whether a client that has come has more than its share."""
        return self._images[client] * self.present > self._images.total()
