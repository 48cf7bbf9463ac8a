"""Decoding in processes: the same pixels, and whatever a picture does, others go on."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from service.engines.background_build import program_of
from service.errors import Draining, ImageTooLarge, UndecodableImage
from service.images.contract import ImageLimits, InputContract
from service.images.decode_worker import WorkerLimits
from service.serving.decode_workers import DecodeHere, DecodeWorkers, MemoryBudget
from tests.hostile_images import deep_png
from tests.sample_images import encode, gradient

CONTRACT = InputContract(size_px=32, fit="fit")
IMAGE = ImageLimits(encoded_bytes=16_000_000, pixels=40_000_000, decoded_bytes=256_000_000)
PICTURE = encode(gradient(40, 60), "JPEG")


@contextmanager
def workers(
    count: int = 1, cpu_s: float = 60.0, granted_bytes: int = 8_000_000, budget: int = 256_000_000
) -> Iterator[DecodeWorkers]:
    """Run some processes; what they lose is counted in `lost`."""
    limits = WorkerLimits(IMAGE, cpu_s, granted_bytes)
    command = program_of("service.images.decode_worker")
    running = DecodeWorkers(command, count, limits, MemoryBudget(budget), lambda: LOST.append(1))
    LOST.clear()
    running.start()
    try:
        yield running
    finally:
        running.stop()


LOST: list[int] = []


def process_of(running: DecodeWorkers) -> int:
    """The process id of the only process."""
    (worker,) = running._all
    return worker._process.pid


def test_pixels_are_those_that_decoding_here_gives() -> None:
    """Whichever way a picture took."""
    with workers() as running:
        pixels = running.decode(PICTURE, CONTRACT)

    np.testing.assert_array_equal(pixels, DecodeHere(IMAGE).decode(PICTURE, CONTRACT), strict=True)


def test_an_error_of_a_picture_comes_back_as_it_is() -> None:
    """Its kind and its words; the process goes on."""
    with workers() as running:
        with pytest.raises(UndecodableImage, match="the 5 bytes are not an image"):
            running.decode(b"hello", CONTRACT)
        assert running.decode(PICTURE, CONTRACT).shape == (3, 32, 32)

    assert LOST == []


def test_a_picture_that_takes_too_much_processor_time_is_refused_and_the_next_one_works() -> None:
    """The system ends its process, even in the midst of a decoder; a new one takes its place."""
    with workers(cpu_s=0.1) as running:
        with pytest.raises(ImageTooLarge, match=r"more than 0.1 s to decode, which is the limit"):
            running.decode(deep_png(4500, 4500), CONTRACT)
        assert running.decode(PICTURE, CONTRACT).shape == (3, 32, 32)

    assert LOST == [1]


def test_a_process_that_is_killed_fails_its_picture_alone() -> None:
    """By the kernel for want of memory, say, or by a fault of the decoder."""
    with workers() as running:
        running.decode(PICTURE, CONTRACT)
        os.kill(process_of(running), signal.SIGKILL)
        with pytest.raises(UndecodableImage, match="its decoder broke down"):
            running.decode(PICTURE, CONTRACT)
        assert running.decode(PICTURE, CONTRACT).shape == (3, 32, 32)


def test_large_pictures_wait_for_memory_and_give_it_back() -> None:
    """What asks for more than its grant holds it only while it is decoded."""
    with workers(granted_bytes=0, budget=100_000) as running:
        for _ in range(2):
            assert running.decode(PICTURE, CONTRACT).shape == (3, 32, 32)
        assert running._budget.in_use_bytes == 0


def test_memory_is_shared_out_one_after_the_other() -> None:
    """Who finds no room waits until there is some."""
    budget, entered = MemoryBudget(100), threading.Event()

    def second() -> None:
        with budget.reserved(60):
            entered.set()

    waiting = threading.Thread(target=second)
    with budget.reserved(60):
        waiting.start()
        had_to_wait = not entered.is_set()
    waiting.join()

    assert had_to_wait
    assert (entered.is_set(), budget.in_use_bytes) == (True, 0)


def test_a_stopped_set_keeps_nobody_waiting_and_leaves_no_process() -> None:
    """What comes afterwards is told at once."""
    with workers(count=2) as running:
        running.decode(PICTURE, CONTRACT)
        processes = [worker._process.pid for worker in running._all]
        running.stop()
        for _ in range(3):
            with pytest.raises(Draining):
                running.decode(PICTURE, CONTRACT)

    assert [Path(f"/proc/{pid}").exists() for pid in processes] == [False, False]
