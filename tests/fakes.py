"""Stand-ins that tests steer by hand: an engine behind a gate, a clock that stands still."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from service.engines.base import EngineDescription, EngineOutputs, Row
from service.errors import EngineFailed, EngineLost
from service.serving.entry import EngineRun
from service.tracing.request_trace import RequestTrace

BLOCK = "layer4.1"


def row_of(value: int) -> Row:
    """Pixels (3, 2, 2) that all hold one value, by which a fake engine distinguishes them."""
    return np.full((3, 2, 2), value, np.uint8)


@dataclass(frozen=True, slots=True)
class Ran:
    """A batch that a fake engine saw: the value of each row, and what was asked for."""

    values: tuple[int, ...]
    extras: frozenset[str]


class FakeEngine:
    """Answers each row with its own value as logits; misbehaves on the values it is told to.

    Args:
        raises: values at which a batch raises.
        not_finite: values whose logits are NaN.
        lethal: values at which the thread dies.
        device_loss: values at which the device is lost, as the engine tells.
    """

    def __init__(
        self,
        raises: Sequence[int] = (),
        not_finite: Sequence[int] = (),
        lethal: Sequence[int] = (),
        device_loss: Sequence[int] = (),
    ) -> None:
        self.description = EngineDescription("fake", "fp32", "cpu")
        self.raises = set(raises)
        self.not_finite = set(not_finite)
        self.lethal = set(lethal)
        self.device_loss = set(device_loss)
        self.ran: list[Ran] = []
        self.is_closed = False

    def load(self) -> None:
        """Nothing is needed."""

    def warm_up_sizes(self, max_batch: int) -> Sequence[int]:
        """One size."""
        return [max_batch]

    def collate(self, rows: Sequence[Row]) -> tuple[int, ...]:
        """Keep each row's value."""
        return tuple(int(row[0, 0, 0]) for row in rows)

    def infer(self, batch: tuple[int, ...], extras: frozenset[str]) -> EngineOutputs:
        """Answer with the values."""
        self.ran.append(Ran(batch, extras))
        if self.lethal & set(batch):
            raise SystemExit
        if self.device_loss & set(batch):
            raise EngineLost("every call on the device fails")
        if self.raises & set(batch):
            raise ArithmeticError("a poisonous row")
        values = [np.nan if value in self.not_finite else value for value in batch]
        logits = np.array([[value, 0.0] for value in values], np.float32)
        similarity = np.array(batch, np.float32).reshape(-1, 1, 1, 1)
        return EngineOutputs(logits, dict.fromkeys(extras, similarity))

    def close(self) -> None:
        """Remember it."""
        self.is_closed = True


class GatedEngine(FakeEngine):
    """A fake engine that waits in `infer` until the test opens the gate, once per batch."""

    def __init__(self, raises: Sequence[int] = (), lethal: Sequence[int] = ()) -> None:
        super().__init__(raises=raises, lethal=lethal)
        self._entered: queue.SimpleQueue[tuple[int, ...]] = queue.SimpleQueue()
        self._gate = threading.Semaphore(0)

    def infer(self, batch: tuple[int, ...], extras: frozenset[str]) -> EngineOutputs:
        """Tell that a batch has come, wait for the gate, then answer."""
        self._entered.put(batch)
        self._gate.acquire()
        return super().infer(batch, extras)

    def warm_up_sizes(self, max_batch: int) -> Sequence[int]:
        """None: the gate is for the test's own batches."""
        return []

    async def entered(self) -> tuple[int, ...]:
        """Wait until a batch is at the gate, and return its values."""
        return await asyncio.to_thread(self._entered.get)

    def open(self, batches: int = 1) -> None:
        """Let batches pass."""
        self._gate.release(batches)


class SlowEngine(FakeEngine):
    """An engine whose building takes until the test lets it end."""

    def __init__(self) -> None:
        super().__init__()
        self.is_loading = threading.Event()
        self.may_load = threading.Event()
        self.has_loaded = threading.Event()

    def load(self) -> None:
        """Wait."""
        self.is_loading.set()
        self.may_load.wait()
        self.has_loaded.set()


class FakeTimer:
    """A clock that moves only when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._alarms: list[tuple[float, Callable[[], None], asyncio.TimerHandle]] = []

    def time(self) -> float:
        """The present moment."""
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """Remember an alarm."""
        handle = asyncio.TimerHandle(when, callback, (), asyncio.get_running_loop())
        self._alarms.append((when, callback, handle))
        return handle

    @property
    def alarms(self) -> list[float]:
        """The moments of the alarms that are still set."""
        return [when for when, _, handle in self._alarms if not handle.cancelled()]

    def advance(self, seconds: float) -> None:
        """Move on, ringing every alarm whose moment has come."""
        self.now += seconds
        due = [a for a in self._alarms if a[0] <= self.now]
        self._alarms = [a for a in self._alarms if a[0] > self.now]
        for _, callback, handle in due:
            callback() if not handle.cancelled() else None


@dataclass(slots=True)
class Record:
    """A batch observer that remembers."""

    batches: list[int] = field(default_factory=list)
    runs: list[EngineRun] = field(default_factory=list)
    expired: int = 0
    dropped: int = 0
    failed: int = 0
    failures: list[EngineFailed] = field(default_factory=list)
    halved: list[int] = field(default_factory=list)

    def on_run(self, run: EngineRun) -> None:
        """Remember a run, and the size of its batch where it did not fail."""
        self.runs.append(run)
        if run.error is None:
            self.batches.append(run.size)

    def on_expired(self, entries: int) -> None:
        """Count expired entries."""
        self.expired += entries

    def on_dropped(self, entries: int) -> None:
        """Count abandoned entries."""
        self.dropped += entries

    def on_halved(self, error: EngineFailed, entries: Sequence[RequestTrace]) -> None:
        """Remember the size of a batch that was halved."""
        self.halved.append(len(entries))

    def on_failure(self, error: EngineFailed, entries: Sequence[RequestTrace]) -> None:
        """Remember a failure, and on how many entries."""
        self.failures.append(error)
        self.failed += len(entries)
