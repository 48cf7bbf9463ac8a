"""The process that decodes: its bounds are kept by the system, whatever a decoder does."""

from __future__ import annotations

import signal
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from service.engines.background_build import program_of
from service.images.contract import ImageLimits, InputContract
from service.images.decode_worker import WorkerLimits
from service.images.frames import read_frame, write_frame
from tests.hostile_images import flat
from tests.sample_images import encode, gradient

HEAD = {"contract": InputContract(size_px=32, fit="fit").model_dump_json()}
LIMITS = WorkerLimits(ImageLimits(16_000_000, 40_000_000, 256_000_000), 60.0, 8_000_000)
PICTURE = encode(gradient(40, 60), "PNG")
LARGE = flat("PNG", "RGB", 4000, 3000)


class Worker:
    """A process, and the pipes to it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.requests = cast("BinaryIO", process.stdin)
        self.answers = cast("BinaryIO", process.stdout)

    def ask(self, file: bytes) -> dict[str, object]:
        """Send a file, and give the head of the first answer."""
        write_frame(self.requests, HEAD, file)
        return read_frame(self.answers)[0]

    def go_on(self) -> dict[str, object]:
        """Grant what it needs, and give the head of its answer."""
        write_frame(self.requests, {})
        return read_frame(self.answers)[0]

    def status_bytes(self, field: str) -> int:
        """What the system says of its memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return 1024 * int(status.split(f"{field}:")[1].split()[0])


@contextmanager
def worker(limits: WorkerLimits = LIMITS) -> Iterator[Worker]:
    """Run a process."""
    command = (*program_of("service.images.decode_worker"), limits.to_json())
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield Worker(process)
        process.kill()


def test_a_large_picture_waits_for_the_word_to_go_on() -> None:
    """It says what it needs before it takes it; a small one does not ask."""
    with worker() as running:
        small = running.ask(PICTURE)
        needs = running.ask(LARGE)
        large = running.go_on()

    assert small == large == {"pixels": True}
    assert needs == {"needs": pytest.approx(48_000_000, rel=0.1)}


def test_a_decoder_gets_no_more_memory_than_the_header_tells() -> None:
    """An AVIF of 48 megapixels that says it has 4,800 pixels would take 165 MB."""
    honest = flat("AVIF", "RGB", 8000, 6000, subsampling="4:4:4", speed=10)
    size, small = (b"ispe" + struct.pack(">III", 0, *sides) for sides in ((8000, 6000), (80, 60)))
    with worker() as running:
        running.ask(PICTURE)
        refusal = running.ask(honest.replace(size, small))
        peak = running.status_bytes("VmHWM")
        next_one = running.ask(PICTURE)

    assert refusal["code"] == "undecodable_image"
    assert next_one == {"pixels": True}
    assert peak < 120_000_000


def test_what_a_large_picture_took_is_given_back() -> None:
    """A process at rest is as small as before."""
    with worker() as running:
        running.ask(PICTURE)
        before = running.status_bytes("VmRSS")
        running.ask(LARGE)
        running.go_on()
        running.ask(PICTURE)

        assert running.status_bytes("VmHWM") > before + 40_000_000
        assert running.status_bytes("VmRSS") < before + 20_000_000


def test_processor_time_is_bounded_for_each_picture() -> None:
    """The signal ends the process, and says why."""
    with worker(replace(LIMITS, cpu_s=0.05)) as running:
        running.ask(PICTURE)
        running.ask(LARGE)
        with pytest.raises(EOFError):
            running.go_on()

        assert running.process.wait() == -signal.SIGPROF


def test_it_ends_with_its_pipe_and_not_before() -> None:
    """What a terminal or a supervisor sends to the whole service is not for it."""
    with worker() as running:
        running.ask(PICTURE)
        for wish in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            running.process.send_signal(wish)
        still = running.ask(PICTURE)
        running.requests.close()

        assert still == {"pixels": True}
        assert running.process.wait() == 0
