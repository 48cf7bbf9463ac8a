"""The process that decodes pictures of clients: one at a time, within bounds that the system keeps.

Decoders are native code that works on whatever anybody sends. Here each picture has so many seconds
of processor time, after which the process is killed, and the process so much memory, beyond which a
decoder gets none. It ends when its pipe is closed, and so with the service, however that ends.

A request is a frame with the model's input contract and the file. The answer is `pixels`, or an
error's `code` and `message`; before it may come `needs`, which waits for the word to go on.
"""

from __future__ import annotations

import functools
import resource
import signal
import sys
from dataclasses import dataclass
from typing import BinaryIO, Self

import orjson

from service.errors import BadInput, ImageTooLarge
from service.images.contract import ImageLimits, InputContract
from service.images.decode import decode, silence_decoders
from service.images.frames import read_frame, write_frame
from service.images.preprocess import preprocess

ROOM_BYTES = 128_000_000  # beside a picture: libraries that are loaded late, copies of its file


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """What a process may spend.

    Attributes:
        image: of each picture.
        cpu_s: seconds of processor time on each.
        granted_bytes: of memory for a picture without asking.
    """

    image: ImageLimits
    cpu_s: float
    granted_bytes: int

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
    silence_decoders()
    for wish in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the service closes the pipe
        signal.signal(wish, signal.SIG_IGN)
    _bound_memory(limits.image.decoded_bytes + 2 * limits.image.encoded_bytes + ROOM_BYTES)
    serve(sys.stdin.buffer, sys.stdout.buffer, limits)


def serve(requests: BinaryIO, answers: BinaryIO, limits: WorkerLimits) -> None:
    """Answer requests until there are no more."""
    while True:
        try:
            head, file = read_frame(requests)
        except EOFError:
            return
        signal.setitimer(signal.ITIMER_PROF, limits.cpu_s)  # its signal kills, even native code
        try:
            pixels = _pixels(file, head["contract"], requests, answers, limits)
        except BadInput as error:
            write_frame(answers, {"code": error.code, "message": error.message})
        except MemoryError:
            too_large = ImageTooLarge("image takes more memory to decode than its header tells")
            write_frame(answers, {"code": too_large.code, "message": too_large.message})
        else:
            write_frame(answers, {"pixels": True}, pixels)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)


def _pixels(
    file: bytes, contract_json: str, requests: BinaryIO, answers: BinaryIO, limits: WorkerLimits
) -> memoryview:
    def reserve(size_bytes: int) -> None:
        if size_bytes > limits.granted_bytes:
            write_frame(answers, {"needs": size_bytes})
            read_frame(requests)

    contract = _contract(contract_json)
    image = decode(file, limits.image, contract, reserve)
    return preprocess(image, contract).reshape(-1).data


@functools.lru_cache(maxsize=64)
def _contract(text: str) -> InputContract:
    return InputContract.model_validate_json(text)


def _bound_memory(size_bytes: int) -> None:
    """Let the process grow by so much beyond what it has mapped already."""
    with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123
        mapped = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + size_bytes, resource.RLIM_INFINITY))


if __name__ == "__main__":
    main()
