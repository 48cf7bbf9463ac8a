"""How many images may be inside the service, and whether it takes any at all."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import TracebackType
from typing import Self

from service.errors import DeadlineExceeded, Draining, Overloaded

DRAIN_RETRY_S = 5.0  # by then another replica, or this one restarted, can answer


class Admission:
    """Counts permits; one permit is one image from its arrival to its answer.

    Lives on the event loop.

    Args:
        limit: permits in all.
        clock: the present moment in seconds.
    """

    def __init__(self, limit: int, clock: Callable[[], float]) -> None:
        self.limit = limit
        self.in_use = 0
        self.is_draining = False
        self._clock = clock

    def enter(self, deadline: float, pace_s: float) -> Permit:
        """Take a permit for a request, which holds one image until more are found in it.

        Args:
            deadline: the moment until which the answer is of use.
            pace_s: engine seconds an image takes at present.

        Raises:
            Draining: the service is stopping.
            Overloaded: every permit is taken.
            DeadlineExceeded: what is inside already takes longer than the deadline allows.
        """
        if self.is_draining:
            raise Draining("the service is stopping", DRAIN_RETRY_S)
        wait_s = self.in_use * pace_s
        left_s = deadline - self._clock()
        if left_s <= wait_s:
            raise DeadlineExceeded(
                f"the deadline is {left_s * 1000:.0f} ms away, what is inside takes "
                f"{wait_s * 1000:.0f} ms",
                retry_after_s=_whole_seconds(wait_s),
            )
        permit = Permit(self, pace_s)
        permit.grow(1)
        return permit

    def drain(self) -> None:
        """Take nothing new from now on; what is inside stays."""
        self.is_draining = True


class Permit:
    """The right of one request to be inside; a context manager that gives it back."""

    def __init__(self, admission: Admission, pace_s: float) -> None:
        self._admission = admission
        self._pace_s = pace_s
        self._images = 0

    def grow(self, images: int) -> None:
        """Take permits for further images.

        Raises:
            Overloaded: there are not that many left; none is taken.
        """
        admission = self._admission
        if admission.in_use + images > admission.limit:
            raise Overloaded(
                f"{admission.in_use} images are inside and {images} more came, "
                f"the limit is {admission.limit}",
                retry_after_s=_whole_seconds(admission.in_use * self._pace_s),
            )
        admission.in_use += images
        self._images += images

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._admission.in_use -= self._images
        self._images = 0


def _whole_seconds(seconds: float) -> float:
    return max(1.0, math.ceil(seconds))
