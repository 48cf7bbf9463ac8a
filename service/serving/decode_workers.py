"""Processes that decode the pictures of clients, and the memory that they share."""

from __future__ import annotations

import contextlib
import queue
import select
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Protocol, cast

import numpy as np
import structlog
from numpy.typing import NDArray

from service import errors
from service.errors import BadInput, Draining, ImageTooLarge, UndecodableImage
from service.images.contract import ImageLimits, InputContract
from service.images.decode import decode
from service.images.decode_worker import WorkerLimits
from service.images.frames import read_frame, write_frame
from service.images.preprocess import preprocess

GRANTED_BYTES = 8_000_000  # of memory that a picture takes without asking: a megapixel of JPEG
IMAGES = 20_000  # that a process decodes before a new one takes its place: leaks stay small
START_S = 60.0  # that a new process may take on a busy machine, before its first answer
STALLED = 10  # times its processor time, after which a process that does not answer is given up

_ERRORS: dict[str, type[BadInput]] = {
    kind.code: kind for kind in (UndecodableImage, errors.UnsupportedFormat, ImageTooLarge)
}

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
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def reserved(self, size_bytes: int) -> Iterator[None]:
        """Wait until there is room, and hold it; what is larger than the limit waits for all."""
        size_bytes = min(size_bytes, self.limit_bytes)
        with self._changed:
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

    A picture that takes too long, or on which its process dies, fails alone; a new process takes
    the place of the dead one.

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
        self._command = (*command, limits.to_json())
        self._count = count
        self._limits = limits
        self._budget = budget
        self._on_loss = on_loss
        self._idle: queue.LifoQueue[_Worker | None] = queue.LifoQueue()  # None: stopped
        self._all: set[_Worker] = set()
        self._is_stopped = False

    def start(self) -> None:
        """Start the processes; they are ready some tenths of a second later."""
        for _ in range(self._count):
            self._idle.put(self._new())

    def stop(self) -> None:
        """Kill every process; what is decoded at this moment, or comes later, fails."""
        self._is_stopped = True
        with contextlib.suppress(queue.Empty):
            while worker := self._idle.get_nowait():
                worker.end()
                self._all.discard(worker)
        for worker in tuple(self._all):
            worker.kill()  # whoever waits for it lets go of it
        self._idle.put(None)

    def decode(self, file: bytes, contract: InputContract) -> NDArray[np.uint8]:
        """Give (3, S, S) uint8 of a file.

        Raises:
            BadInput: the file is no picture, or one that is too large or takes too long.
            Draining: the processes have been stopped.
        """
        worker = self._idle.get()
        if worker is None:
            self._idle.put(None)  # for the next one who waits
            raise Draining("the service is stopping")
        try:
            pixels = worker.decode(file, contract, self._budget)
            return np.frombuffer(pixels, np.uint8).reshape(3, contract.size_px, contract.size_px)
        except _WorkerLost as loss:
            self._on_loss()
            log.warning("decoding process lost", reason=str(loss), file_bytes=len(file))
            raise loss.as_told(self._limits) from loss
        finally:
            self._put_back(worker)

    def _put_back(self, worker: _Worker) -> None:
        """Let the next one have the process, or a new one where it is dead or has done enough."""
        if self._is_stopped or not worker.is_fit:
            worker.end()
            self._all.discard(worker)
        if not self._is_stopped:
            self._idle.put(worker if worker in self._all else self._new())

    def _new(self) -> _Worker:
        worker = _Worker(self._command, self._limits)
        self._all.add(worker)
        return worker


class _WorkerLost(Exception):
    """A process ended before it answered.

    Args:
        code: with which it ended; what killed it, negative. None: it stalled.
    """

    def __init__(self, code: int | None) -> None:
        super().__init__("it stalled" if code is None else f"it ended with code {code}")
        self._code = code

    def as_told(self, limits: WorkerLimits) -> BadInput:
        """What its client is told."""
        if self._code in (None, -signal.SIGPROF):
            return ImageTooLarge(
                f"image takes more than {limits.cpu_s:g} s to decode, which is the limit"
            )
        return UndecodableImage("image is damaged: its decoder broke down")


class _Worker:
    """One process, and the pipes to it."""

    def __init__(self, command: tuple[str, ...], limits: WorkerLimits) -> None:
        self._limits = limits
        self._images_left = IMAGES
        self._process = subprocess.Popen(  # noqa: S603 - this very program
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._requests = cast("BinaryIO", self._process.stdin)
        self._answers = cast("BinaryIO", self._process.stdout)

    @property
    def is_fit(self) -> bool:
        """Whether it can decode another picture."""
        return self._images_left > 0 and self._process.poll() is None

    def decode(self, file: bytes, contract: InputContract, budget: MemoryBudget) -> bytes:
        self._images_left -= 1
        try:
            write_frame(self._requests, {"contract": contract.model_dump_json()}, file)
            head, body = self._answer()
            if "needs" in head:
                with budget.reserved(head["needs"]):
                    write_frame(self._requests, {})
                    head, body = self._answer()
        except (OSError, EOFError) as error:
            raise _WorkerLost(self.end()) from error
        if "code" in head:
            raise _ERRORS[head["code"]](head["message"])
        return body

    def _answer(self) -> tuple[dict[str, Any], bytes]:
        timeout_ms = (START_S + STALLED * self._limits.cpu_s) * 1000
        poll = select.poll()
        poll.register(self._answers, select.POLLIN)
        if not poll.poll(timeout_ms):
            self.end()
            raise _WorkerLost(None)
        return read_frame(self._answers)

    def kill(self) -> None:
        """End it at once, whatever it does; called on any thread."""
        self._process.kill()

    def end(self) -> int:
        """Let go of it, and say with which code it ended."""
        with contextlib.suppress(OSError):
            self._requests.close()
        self._answers.close()
        self._process.kill()  # one that has ended already keeps its code
        return self._process.wait()
