"""One process that decodes pictures, seen from the service."""

from __future__ import annotations

import contextlib
import select
import signal
import subprocess
from typing import Any, BinaryIO, Protocol, cast

from service.errors import BadInput, ImageTooLarge, UndecodableImage, UnsupportedFormat
from service.images.contract import InputContract
from service.images.decode_worker import WorkerLimits
from service.images.frames import read_frame, write_frame

IMAGES = 20_000  # that a process decodes before a new one takes its place: leaks stay small
START_S = 60.0  # that a new process may take on a busy machine, before its first answer
STALLED = 10  # times its processor time, after which a process that does not answer is given up

_ERRORS: dict[str, type[BadInput]] = {
    kind.code: kind for kind in (UndecodableImage, UnsupportedFormat, ImageTooLarge)
}


class Budget(Protocol):
    """Memory that several processes share."""

    def reserved(self, size_bytes: int) -> contextlib.AbstractContextManager[None]:
        """Wait until there is so much, and hold it."""


class ProcessLost(Exception):
    """A process ended before it answered.

    Args:
        code: with which it ended; what killed it, negative. None: it stalled.
    """

    def __init__(self, code: int | None) -> None:
        super().__init__("it stalled" if code is None else f"it ended with code {code}")
        self._code = code

    @property
    def is_timeout(self) -> bool:
        """Whether it took too long."""
        return self._code in (None, -signal.SIGPROF)

    def as_told(self, cpu_s: float) -> Exception:
        """What to raise of its picture.

        Args:
            cpu_s: seconds of processor time that it had.
        """
        if self.is_timeout:
            return ImageTooLarge(f"image takes more than {cpu_s:g} s to decode, which is the limit")
        if self._code is not None and self._code < 0:
            return UndecodableImage("image is damaged: its decoder broke down")
        return RuntimeError(f"the decoding process is of no use: {self}")


class DecodeProcess:
    """One process at a time, and the pipes to it.

    Args:
        command: starts it.
        limits: of it.
    """

    def __init__(self, command: tuple[str, ...], limits: WorkerLimits) -> None:
        self._command = command
        self._limits = limits
        self._images_left = 0
        self._process: subprocess.Popen[bytes] | None = None

    def make_fit(self) -> None:
        """Put a new process in place of one that is not there, or has decoded enough.

        Raises:
            OSError: the system does not start one.
        """
        if self._images_left > 0 and self._process and self._process.poll() is None:
            return
        self.end()
        self._process = subprocess.Popen(  # noqa: S603 - this very program
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0
        )
        self._images_left = IMAGES

    def decode(self, file: bytes, contract: InputContract, budget: Budget) -> bytes:
        """Have a file decoded.

        Raises:
            BadInput: the file is no picture, or one that is too large.
            ProcessLost: the process ended, or is given up.
        """
        process = cast("subprocess.Popen[bytes]", self._process)
        requests, answers = cast("BinaryIO", process.stdin), cast("BinaryIO", process.stdout)
        self._images_left -= 1
        try:
            write_frame(requests, {"contract": contract.model_dump_json()}, file)
            head, body = self._answer(answers)
            if "needs" in head:
                with budget.reserved(head["needs"]):
                    write_frame(requests, {})
                    head, body = self._answer(answers)
        except (OSError, EOFError) as error:
            raise ProcessLost(self.end()) from error
        if "code" in head:
            raise _ERRORS[head["code"]](head["message"])
        return body

    def _answer(self, answers: BinaryIO) -> tuple[dict[str, Any], bytes]:
        poll = select.poll()
        poll.register(answers, select.POLLIN)
        if not poll.poll((START_S + STALLED * self._limits.cpu_s) * 1000):
            self.end()
            raise ProcessLost(None)
        return read_frame(answers)

    def kill(self) -> None:
        """End it at once, whatever it does; called on any thread."""
        if process := self._process:
            process.kill()

    def end(self) -> int | None:
        """Let go of it, and say with which code it ended."""
        process, self._process = self._process, None
        if process is None:
            return None
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):  # what was not sent yet
                cast("BinaryIO", pipe).close()
        process.kill()  # one that has ended already keeps its code
        return process.wait()
