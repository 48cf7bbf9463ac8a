"""How many images and bytes may be inside the service, of whom, and whether it takes any."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from types import TracebackType
from typing import Self

from service.errors import DeadlineExceeded, Draining, Overloaded, OverShare
from service.serving.device_backlog import DeviceShare
from service.serving.fair_share import FairShare
from service.serving.turns import DEFAULT_PRIORITY, HIGHEST_PRIORITY, LOWEST_PRIORITY

MORE_FOR_FIRST = 1 / 8  # of the room: what the most important find beyond what others may take
DRAIN_RETRY_S = 5.0  # by then another replica, or this one restarted, can answer


class Admission:
    """Counts permits, one an image from its arrival to its answer, and the bytes of bodies.

    While more than half of the room is taken, or of the time until a request's deadline, a client
    that has more than its share of the images inside gets no further one, and none of the lowest
    priority comes in: what comes at its leisure leaves room for others.

    Lives on the event loop.

    Attributes:
        draining: set once nothing new is taken, for those who wait for something else.

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
        self.is_leaving = False  # not ready for more, though what comes may still be taken
        self.is_draining = False
        self.draining = asyncio.Event()
        self.clock = clock
        self._clients = FairShare(clock)

    def enter(
        self,
        deadline: float,
        share: DeviceShare,
        client: str = "",
        priority: int = DEFAULT_PRIORITY,
    ) -> Permit:
        """Let a request in whose images have not come yet; it holds none until it takes them.

        Args:
            deadline: the moment until which the answer is of use.
            share: its model's of the device, on which it waits for the images of every model.
            client: whose it is, one by default; some hundreds at most.
            priority: its class, 1 the most important, as far as it is known.

        Raises:
            Draining: the service is stopping.
            OverShare: too many of the images inside are the client's.
            Overloaded: there is no room for an image at present.
            DeadlineExceeded: an image that came now would not be answered in time.
        """
        self.require_entry(deadline, share, client, priority)
        return Permit(self, share, client)

    def require_entry(
        self,
        deadline: float,
        share: DeviceShare,
        client: str = "",
        priority: int = DEFAULT_PRIORITY,
    ) -> None:
        """Refuse a request that `enter` would refuse at this moment, with the same errors.

        It takes nothing; its client counts as present if an idle service could answer it.
        """
        if self.is_draining:
            raise Draining("the service is stopping", DRAIN_RETRY_S)
        if deadline - self.clock() > share.seconds_for(1):
            self._clients.come(client)
        self.require(1, deadline, share, client, priority)

    def require(
        self, images: int, deadline: float, share: DeviceShare, client: str, priority: int
    ) -> float:
        """Predict how long images take that would come now; nothing is taken.

        Raises:
            OverShare, Overloaded, DeadlineExceeded: they would be too many, or late.
        """
        self._require_share(images, deadline, share, client, priority)
        self._require_leisure(images, deadline, share, priority)
        self._require_room(images, share, priority)
        return self._require_time(images, deadline, share, priority)

    def count(self, images: int, client: str) -> None:
        """Count images of a client in, or out where they are fewer than none."""
        self.in_use += images
        self._clients.count(client, images)

    def _require_share(
        self, images: int, deadline: float, share: DeviceShare, client: str, priority: int
    ) -> None:
        clients = self._clients
        if clients.is_exceeded_by(client) and self._is_half_taken(
            images, deadline, share, priority
        ):
            raise OverShare(
                f"{clients.images_of(client)} of the {self.in_use} images inside are of one client "
                f"of {clients.present}; while over half of the room or of the time is taken, each "
                f"gets its share",
                _whole_seconds(share.backlog_s),
            )

    def _require_leisure(
        self, images: int, deadline: float, share: DeviceShare, priority: int
    ) -> None:
        is_last = priority >= LOWEST_PRIORITY
        if is_last and self.in_use and self._is_half_taken(images, deadline, share, priority):
            raise Overloaded(
                f"{self.in_use} images are inside and {images} more came; those of the lowest "
                f"priority come in while less than half of the room and of the time is taken",
                _whole_seconds(share.backlog_s),
            )

    def _is_half_taken(
        self, images: int, deadline: float, share: DeviceShare, priority: int
    ) -> bool:
        """Whether with these images over half of the permits or of the time left is taken."""
        half_left_s = (deadline - self.clock()) / 2
        needed_s = self._needed_s(share.answered_after_s(images, priority), share)
        return self.in_use + images > self.limit / 2 or needed_s > half_left_s

    def _require_room(self, images: int, share: DeviceShare, priority: int) -> None:
        is_first = priority == HIGHEST_PRIORITY
        limit = self.limit + (math.ceil(self.limit * MORE_FOR_FIRST) if is_first else 0)
        if self.in_use + images > limit:
            raise Overloaded(
                f"{self.in_use} images are inside and {images} more came, the limit is {limit}",
                _whole_seconds(share.backlog_s),
            )

    def _require_time(
        self, images: int, deadline: float, share: DeviceShare, priority: int
    ) -> float:
        """Predict when images would be answered; an idle service tries, whatever was before."""
        left_s = max(0.0, deadline - self.clock())
        predicted_s = share.answered_after_s(images, priority)
        needed_s = self._needed_s(predicted_s, share)
        if left_s <= needed_s:
            raise DeadlineExceeded(
                f"the deadline is {left_s * 1000:.0f} ms away, an answer takes "
                f"{needed_s * 1000:.0f} ms",
                retry_after_s=_whole_seconds(needed_s - left_s),
            )
        return predicted_s

    def _needed_s(self, predicted_s: float, share: DeviceShare) -> float:
        return share.answer_times.within_s(predicted_s) if self.in_use else 0.0

    def for_bytes(self) -> Permit:
        """Give a permit for no image, to count the bytes of another kind of request."""
        return Permit(self)

    def leave(self) -> None:
        """Be not ready from now on; what comes is taken until `drain`."""
        self.is_leaving = True

    def drain(self) -> None:
        """Take nothing new from now on; what is inside stays."""
        self.is_leaving = True
        self.is_draining = True
        self.draining.set()


class Permit:
    """The right of one request to be inside; a context manager that gives it back."""

    def __init__(
        self, admission: Admission, share: DeviceShare | None = None, client: str = ""
    ) -> None:
        self._admission = admission
        self._share = share
        self._client = client
        self._images = 0
        self._bytes = 0
        self._taken = 0.0
        self._predicted_s = 0.0
        self._priority = DEFAULT_PRIORITY
        self._came_before = 0

    def take(self, images: int, deadline: float, priority: int = DEFAULT_PRIORITY) -> None:
        """Take a permit for every image that was found in the request.

        Args:
            images: at least one.
            deadline: the moment until which the answer is of use.
            priority: their class, 1 the most important.

        Raises:
            Overloaded: there are not that many left, or not for their class; none is taken.
            OverShare: too many of the images inside are the client's; none is taken.
            DeadlineExceeded: they would not be answered in time; none is taken.
        """
        admission, share = self._admission, self._share
        if share is None:
            raise TypeError("this permit is for bytes alone")
        self._predicted_s = admission.require(images, deadline, share, self._client, priority)
        self._taken = admission.clock()
        self._priority, self._came_before = priority, share.came_before(priority)
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
        self._admission.count(images, self._client)
        self._images += images
        if self._share:
            self._share.count_images(images, self._priority)

    def __enter__(self) -> Self:
        self._admission.requests += 1
        if self._share:
            self._share.count_request(1)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        was_tried = kind is None or isinstance(error, DeadlineExceeded)
        if self._images and self._share and self._predicted_s and was_tried:
            overtaken_by = self._share.came_before(self._priority) - self._came_before
            predicted_s = self._predicted_s + self._share.seconds_for(overtaken_by)
            took_s = self._admission.clock() - self._taken
            self._share.answer_times.learn(predicted_s, took_s)
        self._admission.requests -= 1
        if self._share:
            self._share.count_request(-1)
        self._count(-self._images)
        self.release(self._bytes)


def _whole_seconds(seconds: float) -> float:
    return max(1.0, math.ceil(seconds))
