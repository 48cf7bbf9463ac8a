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
        self.requests = 0  # let in and not answered yet, those included whose bodies still come
        self.is_draining = False
        self._clock = clock

    def enter(self, deadline: float, share: DeviceShare) -> Permit:
        """Let a request in whose images have not come yet; it holds none until it takes them.

        Args:
            deadline: the moment until which the answer is of use.
            share: its model's of the device, on which it waits for the images of every model.

        Raises:
            Draining: the service is stopping.
            Overloaded: there is no room for an image at present.
            DeadlineExceeded: an image that came now would not be answered in time.
        """
        self.require_entry(deadline, share)
        return Permit(self, share)

    def require_entry(self, deadline: float, share: DeviceShare) -> None:
        """Refuse a request that `enter` would refuse at this moment, with the same errors."""
        if self.is_draining:
            raise Draining("the service is stopping", DRAIN_RETRY_S)
        self._require_room(1, share)
        self._require_time(1, deadline, share)

    def _require_room(self, images: int, share: DeviceShare) -> None:
        if self.in_use + images > self.limit:
            raise Overloaded(
                f"{self.in_use} images are inside and {images} more came, "
                f"the limit is {self.limit}",
                _whole_seconds(share.backlog_s),
            )

    def _require_time(self, images: int, deadline: float, share: DeviceShare) -> float:
        """Predict when images would be answered; an idle service tries, whatever was before."""
        left_s = deadline - self._clock()
        predicted_s = share.answered_after_s(images)
        needed_s = share.answer_times.within_s(predicted_s) if self.in_use else 0.0
        if left_s <= needed_s:
            raise DeadlineExceeded(
                f"the deadline is {left_s * 1000:.0f} ms away, an answer takes "
                f"{needed_s * 1000:.0f} ms",
                retry_after_s=_whole_seconds(needed_s - left_s),
            )
        return predicted_s

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
        self._taken = 0.0
        self._predicted_s = 0.0

    def take(self, images: int, deadline: float) -> None:
        """Take a permit for every image that was found in the request.

        Args:
            images: at least one.
            deadline: the moment until which the answer is of use.

        Raises:
            Overloaded: there are not that many left; none is taken.
            DeadlineExceeded: they would not be answered in time; none is taken.
        """
        admission, share = self._admission, self._share
        if share is None:
            raise TypeError("this permit is for bytes alone")
        admission._require_room(images, share)  # noqa: SLF001 - the two are one mechanism
        self._predicted_s = admission._require_time(images, deadline, share)  # noqa: SLF001
        self._taken = admission._clock()  # noqa: SLF001
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
        self._admission.requests += 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._images and self._share and (kind is None or isinstance(error, DeadlineExceeded)):
            took_s = self._admission._clock() - self._taken  # noqa: SLF001
            self._share.answer_times.learn(self._predicted_s, took_s)
        self._admission.requests -= 1
        self._count(-self._images)
        self.release(self._bytes)


def _whole_seconds(seconds: float) -> float:
    return max(1.0, math.ceil(seconds))
