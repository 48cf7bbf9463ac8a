"""What a device still has to do, for every model that runs on it: seconds of work, and room."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from service.serving.batch_policy import Room, Run

RECENT_RUNS = 32  # enough to smooth, few enough to follow a change of engine or load


@dataclass(frozen=True, slots=True, eq=False)
class UnderWay:
    """A batch that was handed to the device and has not come back."""

    share: DeviceShare
    entries: int


class DeviceBacklog:
    """The images and batches of all models on one device; lives on the event loop.

    The model whose oldest image has waited longest is the next to take the device, and no other
    one stacks a batch ahead of it. So whoever comes in waits for what is inside, of every model,
    and `seconds` says how long that is.

    Args:
        clock: the present moment in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._shares: list[DeviceShare] = []
        self._under_way: list[UnderWay] = []  # in the order in which the device runs them
        self._began = 0.0  # the first of them

    def share(self, advance: Callable[[], None]) -> DeviceShare:
        """Add a model.

        Args:
            advance: is called when the device may have room for the model.
        """
        share = DeviceShare(self, advance)
        self._shares.append(share)
        return share

    def remove(self, share: DeviceShare) -> None:
        """Take out a model that is not served any more."""
        self._shares.remove(share)

    @property
    def seconds(self) -> float:
        """Engine seconds until every image inside has been answered, by the pace of each model."""
        work_s = sum(share.images * share.pace_s for share in self._shares)
        return max(0.0, work_s - self._done_s())

    def _done_s(self) -> float:
        """What of the running batch is done already."""
        if not self._under_way:
            return 0.0
        running = self._under_way[0]
        return min(self._clock() - self._began, running.entries * running.share.pace_s)

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
        for share in sorted(self._shares, key=lambda share: share.waiting_since):
            share.advance()


class DeviceShare:
    """One model's part of a device's backlog.

    Attributes:
        images: of the model that are inside the service; their permits count them.
        waiting_since: when the oldest image of its queue came; infinite while none waits.
        runs: what the device did for it of late, oldest first.
        advance: lets its queue move on where there is room.
    """

    def __init__(self, backlog: DeviceBacklog, advance: Callable[[], None]) -> None:
        self._backlog = backlog
        self.advance = advance
        self.images = 0
        self.waiting_since = float("inf")
        self.runs: deque[Run] = deque(maxlen=RECENT_RUNS)

    @property
    def pace_s(self) -> float:
        """Engine seconds an image has taken lately; 0 before the first batch."""
        entries = sum(run.entries for run in self.runs)
        return sum(run.seconds for run in self.runs) / entries if entries else 0.0

    @property
    def backlog_s(self) -> float:
        """Engine seconds until everything inside has been answered, of other models too."""
        return self._backlog.seconds

    @property
    def room(self) -> Room:
        """What the device can take of this model's batches."""
        return self._backlog.room_for(self)

    def begin(self, entries: int) -> UnderWay:
        """Hand a batch to the device."""
        batch = UnderWay(self, entries)
        self._backlog.begin(batch)
        return batch

    def end(self, batch: UnderWay) -> None:
        """Take it back: it was answered, or failed."""
        self._backlog.end(batch)

    def close(self) -> None:
        """Leave the device to the other models."""
        self._backlog.remove(self)
