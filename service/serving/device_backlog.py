"""What a device still has to do, for every model that runs on it: seconds of work, and room."""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass

from service.serving.batch_policy import Room
from service.serving.run_times import AnswerTimes, RunTimes
from service.serving.turns import DEFAULT_PRIORITY, LOWEST_PRIORITY


@dataclass(frozen=True, slots=True, eq=False)
class UnderWay:
    """A batch that was handed to the device and has not come back."""

    share: DeviceShare
    priorities: Collection[int]

    @property
    def entries(self) -> int:
        """How many images are in it."""
        return len(self.priorities)

    def entries_of(self, priority: int) -> int:
        """How many of them are of a class or of a more important one."""
        return sum(one <= priority for one in self.priorities)


class DeviceBacklog:
    """The images and batches of all models on one device; lives on the event loop.

    When a batch comes back, the device is offered to the model whose oldest image has waited
    longest, and while one runs, no other model stacks a batch ahead of that one. So whoever comes
    in waits for what is inside, of every model, but for the less important of its own.

    Args:
        clock: the present moment in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._shares: list[DeviceShare] = []
        self._under_way: list[UnderWay] = []  # in the order in which they were handed over
        self._began = 0.0  # the first of them

    def share(self, advance: Callable[[], None], max_batch: int) -> DeviceShare:
        """Add a model.

        Args:
            advance: is called when the device may have room for the model.
            max_batch: images in its largest batch.
        """
        share = DeviceShare(self, advance, max_batch)
        self._shares.append(share)
        return share

    def remove(self, share: DeviceShare) -> None:
        """Take out a model that is not served any more."""
        self._shares.remove(share)

    @property
    def seconds(self) -> float:
        """Engine seconds until every image inside has been answered."""
        return self.under_way_s + sum(self._waiting_s(share, 0) for share in self._shares)

    def seconds_before(self, newcomer: DeviceShare, images: int, priority: int) -> float:
        """When so many images more of a model will be answered, which go before less important."""
        return self.under_way_s + sum(
            self._waiting_s(share, images, priority)
            if share is newcomer
            else self._waiting_s(share, 0)
            for share in self._shares
        )

    @property
    def under_way_s(self) -> float:
        """Engine seconds until the device has done what was handed to it."""
        times = [batch.share.seconds_for(batch.entries) for batch in self._under_way]
        if times:
            times[0] = max(0.0, times[0] - (self._clock() - self._began))
        return sum(times)

    def _waiting_s(self, share: DeviceShare, more: int, priority: int = LOWEST_PRIORITY) -> float:
        own = (batch for batch in self._under_way if batch.share is share)
        running = sum(batch.entries_of(priority) for batch in own)
        return share.seconds_for(max(0, share.images_of(priority) - running) + more)

    def room_for(self, share: DeviceShare) -> Room:
        """What the device can take of a model's batches."""
        if not self._under_way:
            return Room.IDLE
        if len(self._under_way) > 1 or self._is_outwaited(share):
            return Room.NONE
        return Room.SLOT

    def _is_outwaited(self, share: DeviceShare) -> bool:
        return any(other.waiting_since < share.waiting_since for other in self._shares)

    def begin(self, batch: UnderWay) -> None:
        """Count a batch that is handed to the device."""
        if not self._under_way:
            self._began = self._clock()
        self._under_way.append(batch)

    def end(self, batch: UnderWay) -> None:
        """Take a batch out that has come back, and let the models advance, the oldest first."""
        if batch is self._under_way[0]:
            self._began = self._clock()
        self._under_way.remove(batch)
        with contextlib.ExitStack() as turns:  # each gets its turn, whatever becomes of another's
            for share in sorted(self._shares, key=lambda s: s.waiting_since, reverse=True):
                turns.callback(share.advance)


class DeviceShare:
    """One model's part of a device's backlog.

    Attributes:
        left: set while no request is inside that began on the model.
        waiting_since: when the oldest image of its queue came; infinite while none waits.
        times: how long the device takes for its batches.
        answer_times: how long its answers take, by what was predicted.
        advance: lets its queue move on where there is room.
    """

    def __init__(self, backlog: DeviceBacklog, advance: Callable[[], None], max_batch: int) -> None:
        self._backlog = backlog
        self._max_batch = max_batch
        self.advance = advance
        self._images: Counter[int] = Counter()  # inside the service, by class
        self.requests = 0
        self.left = asyncio.Event()
        self.left.set()
        self.waiting_since = float("inf")
        self.times = RunTimes()
        self.answer_times = AnswerTimes()
        self._came: Counter[int] = Counter()  # ever, by class

    def expect_times_of(self, other: DeviceShare) -> None:
        """Begin with what was learned of another model; each goes on for itself."""
        self.times = copy.deepcopy(other.times)
        self.answer_times = copy.copy(other.answer_times)

    @property
    def images(self) -> int:
        """Images of the model that are inside the service."""
        return self._images.total()

    def images_of(self, priority: int) -> int:
        """Those of a class and of more important ones."""
        return sum(images for one, images in self._images.items() if one <= priority)

    def count_images(self, change: int, priority: int) -> None:
        """Count images in, or out where they are fewer than none."""
        self._images[priority] += change
        self._came[priority] += max(0, change)

    def came_before(self, priority: int) -> int:
        """Images of more important classes than one that have ever come in."""
        return sum(images for one, images in self._came.items() if one < priority)

    def count_request(self, change: int) -> None:
        """Count a request in (1) or out (-1)."""
        self.requests += change
        if self.requests:
            self.left.clear()
        else:
            self.left.set()

    def seconds_for(self, images: int) -> float:
        """Engine seconds of so many of its images."""
        return self.times.seconds_for(images, self._max_batch)

    def answered_after_s(self, images: int, priority: int = DEFAULT_PRIORITY) -> float:
        """When so many more images of a class would be answered, if nothing came after them."""
        return self._backlog.seconds_before(self, images, priority)

    @property
    def backlog_s(self) -> float:
        """Engine seconds until everything inside has been answered, of other models too."""
        return self._backlog.seconds

    @property
    def under_way_s(self) -> float:
        """Engine seconds until the device has done what was handed to it, by whatever model."""
        return self._backlog.under_way_s

    @property
    def room(self) -> Room:
        """What the device can take of this model's batches."""
        return self._backlog.room_for(self)

    def begin(self, priorities: Collection[int]) -> UnderWay:
        """Hand a batch to the device, of images of these classes."""
        batch = UnderWay(self, priorities)
        self._backlog.begin(batch)
        return batch

    def end(self, batch: UnderWay) -> None:
        """Take it back: it was answered, or failed."""
        self._backlog.end(batch)

    def close(self) -> None:
        """Leave the device to the other models; a second time does nothing."""
        with contextlib.suppress(ValueError):
            self._backlog.remove(self)
