"""What decoding a file costs, measured in a process that has done nothing else before."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, cast

import orjson

from service.errors import BadInput
from service.images.contract import ImageLimits, InputContract
from service.images.decode import decode, silence_decoders
from service.images.preprocess import preprocess

LIMITS = ImageLimits(16_000_000, 40_000_000, 288_000_000)  # the defaults of the settings
IMAGENET = InputContract(size_px=224, fit="crop", shorter_side_px=256)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a file took.

    Attributes:
        peak_bytes: of memory, beside the process and the file.
        cpu_s: seconds of processor time.
        estimate_bytes: of memory, as told from its header; 0 where it did not come to that.
        code: of the error by which it was refused; empty where it was answered.
    """

    peak_bytes: int
    cpu_s: float
    estimate_bytes: int
    code: str


class Probe:
    """Measures files, each in a fork of a process that only has its imports.

    Args:
        process: runs `main`.
        file: where files are handed over.
    """

    def __init__(self, process: subprocess.Popen[bytes], file: Path) -> None:
        self._process = process
        self._file = file

    def measure(self, content: bytes) -> Cost:
        """Decode a file, and scale it for a model of ImageNet."""
        self._file.write_bytes(content)
        requests, answers = self._process.stdin, self._process.stdout
        cast("IO[bytes]", requests).write(b"\n")
        cast("IO[bytes]", requests).flush()
        return Cost(**orjson.loads(cast("IO[bytes]", answers).readline()))


@contextlib.contextmanager
def probing(folder: Path) -> Iterator[Probe]:
    """Run a probe whose files lie in a folder."""
    file = folder / "content"
    command = [sys.executable, "-m", "tests.decode_probe", str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield Probe(process, file)


def main() -> None:
    """Measure the file once for each line on standard input."""
    silence_decoders()
    for _ in sys.stdin.buffer:
        if child := os.fork():
            os.waitpid(child, 0)
        else:
            sys.stdout.buffer.write(orjson.dumps(asdict(_cost_of(Path(sys.argv[1])))) + b"\n")
            sys.stdout.buffer.flush()
            os._exit(0)


def _cost_of(file: Path) -> Cost:
    content = file.read_bytes()
    estimates: list[int] = []
    code = ""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the peak so far
    before, began = _status_bytes("VmRSS"), time.process_time()
    try:
        preprocess(decode(content, LIMITS, IMAGENET, estimates.append), IMAGENET)
    except BadInput as error:
        code = error.code
    cpu_s = time.process_time() - began
    return Cost(_status_bytes("VmHWM") - before, cpu_s, sum(estimates), code)


def _status_bytes(field: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.split(f"{field}:")[1].split()[0])


if __name__ == "__main__":
    main()
