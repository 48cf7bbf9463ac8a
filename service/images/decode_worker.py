"""The process that decodes pictures of clients: one at a time, within bounds that the system keeps.

Decoders are native code that works on whatever anybody sends. Here each picture has so many seconds
of processor time, after which the process is killed, and so much memory as its header tells, beyond
which a decoder gets none. It ends when its pipe is closed, and so with the service, however that
ends.

A request is a frame with the model's input contract and the file. The answer is `pixels`, or an
error's `code` and `message`; before it may come `needs`, which waits for the word to go on.
"""

from __future__ import annotations

import ctypes
import functools
import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO, Self

import orjson

from service.errors import BadInput, ImageTooLarge
from service.images.contract import ImageLimits, InputContract
from service.images.decode import decode, silence_decoders
from service.images.frames import read_frame, write_frame
from service.images.preprocess import preprocess

ROOM_BYTES = 64_000_000  # beside a picture and its file: what is loaded late, or was not given back


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """What a process may spend.

    Attributes:
        image: of each picture.
        cpu_s: seconds of processor time on each.
        granted_bytes: of memory for a picture without asking.
        niceness: how far it gives way to other processes, 0 to 19.
    """

    image: ImageLimits
    cpu_s: float
    granted_bytes: int
    niceness: int = 0

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote."""
        values = orjson.loads(text)
        return cls(ImageLimits(**values.pop("image")), **values)

    def to_json(self) -> str:
        """Write them for a command line."""
        return orjson.dumps(self).decode()


def main() -> None:
    """Decode what comes on standard input until it is closed."""
    limits = WorkerLimits.from_json(sys.argv[1])
    os.nice(limits.niceness)
    silence_decoders()
    for wish in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the service closes the pipe
        signal.signal(wish, signal.SIG_IGN)
    _give_large_memory_back()
    serve(sys.stdin.buffer, sys.stdout.buffer, limits, memory_bound(limits))


def _give_large_memory_back() -> None:
    """Have what a large picture took returned to the system, not kept for the next one."""
    trim_threshold, mmap_threshold = -1, -3  # of glibc, which else raises both as it goes
    with suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        libc.mallopt(mmap_threshold, 4_000_000)
        libc.mallopt(trim_threshold, 16_000_000)


def serve(
    requests: BinaryIO, answers: BinaryIO, limits: WorkerLimits, bound: Callable[[int], None]
) -> None:
    """Answer requests until there are no more.

    Args:
        requests: where they come from.
        answers: where they are written.
        limits: of each picture.
        bound: is told how much memory the next step may take.
    """
    with suppress(EOFError):
        while True:
            bound(limits.granted_bytes)
            _serve_one(requests, answers, limits, bound)


def _serve_one(
    requests: BinaryIO, answers: BinaryIO, limits: WorkerLimits, bound: Callable[[int], None]
) -> None:
    head, file = read_frame(requests)

    def reserve(size_bytes: int) -> None:
        if size_bytes > limits.granted_bytes:
            write_frame(answers, {"needs": size_bytes})
            read_frame(requests)
            bound(size_bytes)

    signal.setitimer(signal.ITIMER_PROF, limits.cpu_s)  # its signal kills, even native code
    answer, pixels = _answer(file, _contract(head["contract"]), limits.image, reserve)
    signal.setitimer(signal.ITIMER_PROF, 0)
    write_frame(answers, answer, pixels)


def _answer(
    file: bytes, contract: InputContract, limits: ImageLimits, reserve: Callable[[int], None]
) -> tuple[dict[str, Any], memoryview | bytes]:
    try:
        image = decode(file, limits, contract, reserve)
        return {"pixels": True}, preprocess(image, contract).reshape(-1).data
    except BadInput as error:
        return {"code": error.code, "message": error.message}, b""
    except MemoryError:
        message = "image takes more memory to decode than its header tells"
        return {"code": ImageTooLarge.code, "message": message}, b""


@functools.lru_cache(maxsize=64)
def _contract(text: str) -> InputContract:
    return InputContract.model_validate_json(text)


def memory_bound(limits: WorkerLimits) -> Callable[[int], None]:
    """Give what bounds this process's memory: as it is now, with its files and so much beside."""
    with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123
        mapped = int(statm.read().split()[0]) * resource.getpagesize()
    fixed = mapped + 2 * limits.image.encoded_bytes + ROOM_BYTES

    def bound(size_bytes: int) -> None:
        resource.setrlimit(resource.RLIMIT_AS, (fixed + size_bytes, resource.RLIM_INFINITY))

    return bound


if __name__ == "__main__":
    main()
