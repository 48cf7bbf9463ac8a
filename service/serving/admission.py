"""How many images and bytes may be inside the service, and whether it takes any at all."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import TracebackType
from typing import Self

from service.errors import DeadlineExceeded, Draining, Overloaded
from service.serving.device_backlog import DeviceShare

DRAIN_RETRY_S = 5.0  # by then another replica, or this one restarted, can answer


class Admission:
    """Counts permits, one an image from its arrival to its answer, and the bytes of bodies.

    Lives on the event loop.

    Args:
        limit: permits in all.
        limit_bytes: of the bodies of all requests inside, as they came over the wire.
        clock: the present moment in seconds.
    """

    def __init__(self, limit: int, limit_bytes: int, clock: Callable[[], float]) -> None:
        self.limit = limit
        self.limit_bytes = limit_bytes
        self.in_use = 0
        self.in_use_bytes = 0
        self.is_draining = False
        self._clock = clock

    def enter(self, deadline: float, share: DeviceShare) -> Permit:
        """Take a permit for a request, which holds one image until more are found in it.

        Args:
            deadline: the moment until which the answer is of use.
            share: its model's of the device, on which it waits for the images of every model.

        Raises:
            Draining: the service is stopping.
            Overloaded: every permit is taken.
            DeadlineExceeded: what is inside already, of every model, takes longer than the
                deadline allows.
        """
        if self.is_draining:
            raise Draining("the service is stopping", DRAIN_RETRY_S)
        wait_s = share.backlog_s
        left_s = deadline - self._clock()
        if left_s <= wait_s:
            raise DeadlineExceeded(
                f"the deadline is {left_s * 1000:.0f} ms away, what is inside takes "
                f"{wait_s * 1000:.0f} ms",
                retry_after_s=_whole_seconds(wait_s),
            )
        permit = Permit(self, share)
        permit.grow(1)
        return permit

    def for_bytes(self) -> Permit:
        """Give a permit for no image, to count the bytes of another kind of request."""
        return Permit(self)

    def drain(self) -> None:
        """Take nothing new from now on; what is inside stays."""
        self.is_draining = True


class Permit:
    """The right of one request to be inside; a context manager that gives it back."""

    def __init__(self, admission: Admission, share: DeviceShare | None = None) -> None:
        self._admission = admission
        self._share = share
        self._images = 0
        self._bytes = 0

    def grow(self, images: int) -> None:
        """Take permits for further images.

        Raises:
            Overloaded: there are not that many left; none is taken.
        """
        admission = self._admission
        if admission.in_use + images > admission.limit:
            raise self._overloaded(
                f"{admission.in_use} images are inside and {images} more came, "
                f"the limit is {admission.limit}"
            )
        self._count(images)

    def require_room(self, size_bytes: int) -> None:
        """Refuse a body that there is no room for at present; nothing is taken.

        Raises:
            Overloaded: there is none.
        """
        admission = self._admission
        if admission.in_use_bytes + size_bytes > admission.limit_bytes:
            raise self._overloaded(
                f"bodies of {admission.in_use_bytes} bytes are inside and {size_bytes} more came, "
                f"the limit is {admission.limit_bytes}"
            )

    def hold(self, size_bytes: int) -> None:
        """Count further bytes of the request's body.

        Raises:
            Overloaded: there is no room for them; none is taken.
        """
        self.require_room(size_bytes)
        self._admission.in_use_bytes += size_bytes
        self._bytes += size_bytes

    def release(self, size_bytes: int) -> None:
        """Give back bytes that were counted and are not held."""
        self._admission.in_use_bytes -= size_bytes
        self._bytes -= size_bytes

    def _overloaded(self, message: str) -> Overloaded:
        wait_s = self._share.backlog_s if self._share else 0.0
        return Overloaded(message, _whole_seconds(wait_s))

    def _count(self, images: int) -> None:
        self._admission.in_use += images
        self._images += images
        if self._share:
            self._share.images += images

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._count(-self._images)
        self.release(self._bytes)


def _whole_seconds(seconds: float) -> float:
    return max(1.0, math.ceil(seconds))
