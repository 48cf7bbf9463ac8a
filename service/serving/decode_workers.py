"""Processes that decode the pictures of clients, and the memory that they share."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from service.errors import Draining
from service.images.contract import ImageLimits, InputContract
from service.images.decode import check_file, decode
from service.images.decode_worker import WorkerLimits
from service.images.preprocess import preprocess
from service.serving.decode_process import DecodeProcess, ProcessLost

GRANTED_BYTES = 8_000_000  # of memory that a picture takes without asking: a megapixel of JPEG

log = structlog.stdlib.get_logger(__name__)


class Decoder(Protocol):
    """Turns a client's file into what a model sees; called on any thread."""

    def decode(self, file: bytes, contract: InputContract) -> NDArray[np.uint8]:
        """Give (3, S, S) uint8.

        Raises:
            BadInput: the file is no picture, or one that is too large.
        """

    def start(self) -> None:
        """Get ready."""

    def stop(self) -> None:
        """Release what `start` took."""


class DecodeHere:
    """Decodes on the calling thread, for whoever knows where the pictures come from.

    Args:
        limits: of each picture.
    """

    def __init__(self, limits: ImageLimits) -> None:
        self._limits = limits

    def decode(self, file: bytes, contract: InputContract) -> NDArray[np.uint8]:
        """Give (3, S, S) uint8."""
        return preprocess(decode(file, self._limits, contract), contract)

    def start(self) -> None:
        """Nothing is needed."""

    def stop(self) -> None:
        """Nothing is held."""


class MemoryBudget:
    """Bytes that decoding may take at one time, over all pictures."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.in_use_bytes = 0
        self._turn = threading.Lock()
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def reserved(self, size_bytes: int) -> Iterator[None]:
        """Wait until there is room, and hold it; what is larger than the limit waits for all.

        One waits at a time, the others behind it: small ones do not keep a large one out.
        """
        size_bytes = min(size_bytes, self.limit_bytes)
        with self._turn, self._changed:
            self._changed.wait_for(lambda: self.in_use_bytes + size_bytes <= self.limit_bytes)
            self.in_use_bytes += size_bytes
        try:
            yield
        finally:
            with self._changed:
                self.in_use_bytes -= size_bytes
                self._changed.notify_all()


class DecodeWorkers:
    """A set of processes, each of which decodes one picture at a time.

    A picture that takes too long fails alone. One whose process dies otherwise is tried once more:
    somebody else may have killed that. A new process takes the place of each that is lost.

    Args:
        command: starts a process; its argument is the limits as JSON.
        count: of processes; as many threads may call `decode` at once without waiting.
        limits: of each process.
        budget: of all of them together.
        on_loss: is told of each process that died or was killed, on the calling thread.
    """

    def __init__(
        self,
        command: tuple[str, ...],
        count: int,
        limits: WorkerLimits,
        budget: MemoryBudget,
        on_loss: Callable[[], None] = lambda: None,
    ) -> None:
        self._limits = limits
        self._budget = budget
        self._on_loss = on_loss
        self._workers = [DecodeProcess((*command, limits.to_json()), limits) for _ in range(count)]
        self._idle: queue.LifoQueue[DecodeProcess] = queue.LifoQueue()
        self._changing = threading.Lock()
        self._is_stopped = False

    def start(self) -> None:
        """Start the processes; they are ready some tenths of a second later.

        Raises:
            OSError: the system does not start one.
        """
        for worker in self._workers:
            self._make_fit(worker)
            self._idle.put(worker)

    def stop(self) -> None:
        """Kill every process; what one of them decodes at this moment fails."""
        with self._changing:
            self._is_stopped = True
        for worker in self._workers:
            worker.kill()
        idle = []
        with contextlib.suppress(queue.Empty):
            while True:
                idle.append(self._idle.get_nowait())
        for worker in idle:  # the others are let go of by the threads that use them
            self._give_back(worker)

    def decode(self, file: bytes, contract: InputContract) -> NDArray[np.uint8]:
        """Give (3, S, S) uint8 of a file.

        Raises:
            BadInput: the file is no picture, or one that is too large or takes too long.
            Draining: the processes were stopped.
            RuntimeError: the process fails by a fault of our own.
            OSError: the system does not start a process.
        """
        check_file(file, self._limits.image)
        worker = self._idle.get()
        try:
            pixels = self._decode_with(worker, file, contract, attempts=2)
        finally:
            self._give_back(worker)
        return np.frombuffer(pixels, np.uint8).reshape(3, contract.size_px, contract.size_px)

    def _decode_with(
        self, worker: DecodeProcess, file: bytes, contract: InputContract, attempts: int
    ) -> bytes:
        self._make_fit(worker)
        try:
            return worker.decode(file, contract, self._budget)
        except ProcessLost as loss:
            if not self._is_stopped:
                self._on_loss()
                log.warning("decoding process lost", reason=str(loss), file_bytes=len(file))
            if attempts > 1 and not loss.is_timeout:
                return self._decode_with(worker, file, contract, attempts - 1)
            raise loss.as_told(self._limits.cpu_s) from loss

    def _make_fit(self, worker: DecodeProcess) -> None:
        with self._changing:
            if self._is_stopped:
                raise Draining("the service is stopping")
            worker.make_fit()

    def _give_back(self, worker: DecodeProcess) -> None:
        """Make it ready for the next picture or, when all is over, let go of it."""
        with contextlib.suppress(OSError, Draining):  # the next picture tries again
            self._make_fit(worker)
        with self._changing:
            self._idle.put(worker)
            if self._is_stopped:
                worker.end()
