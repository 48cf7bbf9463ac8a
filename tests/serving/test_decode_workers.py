"""Decoding in processes: the same pixels, and whatever a picture does, others go on."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from service.engines.background_build import program_of
from service.errors import Draining, ImageTooLarge, UndecodableImage
from service.images.contract import ImageLimits, InputContract
from service.images.decode_worker import WorkerLimits
from service.serving import decode_process
from service.serving.decode_workers import DecodeHere, DecodeWorkers, MemoryBudget
from tests.hostile_images import deep_png
from tests.sample_images import encode, gradient

CONTRACT = InputContract(size_px=32, fit="fit")
IMAGE = ImageLimits(encoded_bytes=16_000_000, pixels=40_000_000, decoded_bytes=256_000_000)
PICTURE = encode(gradient(40, 60), "JPEG")
WORKER = program_of("service.images.decode_worker")
KILLED = ("sh", "-c", "kill -KILL $$", "sh")  # dies of every picture
HANGING = ("sh", "-c", "exec sleep 1000", "sh")  # never answers


@contextmanager
def workers(
    count: int = 1,
    cpu_s: float = 60.0,
    granted_bytes: int = 8_000_000,
    budget: int = 256_000_000,
    command: tuple[str, ...] = WORKER,
) -> Iterator[DecodeWorkers]:
    """Run some processes; what they lose is counted in `LOST`."""
    limits = WorkerLimits(IMAGE, cpu_s, granted_bytes)
    running = DecodeWorkers(command, count, limits, MemoryBudget(budget), lambda: LOST.append(1))
    LOST.clear()
    running.start()
    try:
        yield running
    finally:
        running.stop()


LOST: list[int] = []


def processes_of(running: DecodeWorkers) -> list[int]:
    """The process ids."""
    return [worker._process.pid for worker in running._workers if worker._process]


def open_descriptors() -> int:
    """How many files and pipes this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF"])
def test_pixels_are_those_that_decoding_here_gives(name: str) -> None:
    """Whichever way a picture took."""
    picture = encode(gradient(400, 600), name)
    with workers() as running:
        pixels = running.decode(picture, CONTRACT)

    np.testing.assert_array_equal(pixels, DecodeHere(IMAGE).decode(picture, CONTRACT), strict=True)


def test_an_error_of_a_picture_comes_back_as_it_is() -> None:
    """Its kind and its words; the process goes on."""
    with workers() as running:
        with pytest.raises(UndecodableImage, match="the 5 bytes are not an image"):
            running.decode(b"hello", CONTRACT)
        with pytest.raises(ImageTooLarge, match="image is 16000001 bytes, the limit is 16000000"):
            running.decode(bytes(16_000_001), CONTRACT)
        assert running.decode(PICTURE, CONTRACT).shape == (3, 32, 32)

    assert LOST == []


class TestLosses:
    """A process may end at any time."""

    def test_a_picture_that_burns_cpu_is_refused_and_the_next_one_works(self) -> None:
        """The system ends its process, even in the midst of a decoder; a new one takes over."""
        with workers(cpu_s=0.1) as running:
            with pytest.raises(ImageTooLarge, match=r"more than 0.1 s to decode, which is the"):
                running.decode(deep_png(4500, 4500), CONTRACT)
            assert running.decode(PICTURE, CONTRACT).shape == (3, 32, 32)

        assert LOST == [1]

    def test_a_picture_whose_process_is_killed_from_outside_is_answered(self) -> None:
        """By the kernel for want of memory, say: the picture is tried once more."""
        with workers() as running:
            running.decode(PICTURE, CONTRACT)
            os.kill(processes_of(running)[0], signal.SIGKILL)

            assert running.decode(PICTURE, CONTRACT).shape == (3, 32, 32)

    def test_a_picture_that_kills_two_processes_is_refused(self) -> None:
        """It is taken for the cause then."""
        broken = pytest.raises(UndecodableImage, match="its decoder broke down")
        with workers(command=KILLED) as running, broken:
            running.decode(PICTURE, CONTRACT)

        assert LOST == [1, 1]

    def test_a_process_that_fails_by_our_own_fault_is_no_fault_of_the_picture(self) -> None:
        """An exit code is what an error of our own in the process makes."""
        failing = pytest.raises(RuntimeError, match="it ended with code 3")
        with workers(command=("sh", "-c", "exit 3", "sh")) as running, failing:
            running.decode(PICTURE, CONTRACT)

    def test_a_process_is_replaced_after_so_many_pictures(self) -> None:
        """What native code may lose of memory stays small."""
        with workers() as running:
            (first,) = processes_of(running)
            running._workers[0]._images_left = 2
            running.decode(PICTURE, CONTRACT)
            (second,) = processes_of(running)
            running.decode(PICTURE, CONTRACT)
            (third,) = processes_of(running)

            assert running._workers[0]._images_left == decode_process.IMAGES
        assert first == second != third
        assert LOST == []


class TestMemory:
    """What large pictures take is shared out."""

    def test_large_pictures_wait_for_memory_and_give_it_back(self) -> None:
        """What asks for more than its grant holds it only while it is decoded."""
        with workers(granted_bytes=0, budget=100_000) as running:
            for _ in range(2):
                assert running.decode(PICTURE, CONTRACT).shape == (3, 32, 32)
            assert running._budget.in_use_bytes == 0

    def test_who_finds_no_room_waits_until_there_is_some(self) -> None:
        """One after the other."""
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

    def test_small_pictures_do_not_keep_a_large_one_out(self) -> None:
        """Whoever comes while a large one waits is behind it, even where there is room for him."""
        budget, order = MemoryBudget(100), list[int]()

        def take(size: int) -> None:
            with budget.reserved(size):
                order.append(size)

        large, small = (threading.Thread(target=take, args=(size,)) for size in (100, 10))
        with budget.reserved(50):
            large.start()
            wait_until(budget._turn.locked)
            small.start()
            order.append(50)
        large.join()
        small.join()

        assert order == [50, 100, 10]


class TestStop:
    """When the service ends, so do the processes."""

    def test_a_stopped_set_keeps_nobody_waiting_and_leaves_no_process(self) -> None:
        """What comes afterwards is told at once."""
        before = open_descriptors()
        with workers(count=2) as running:
            running.decode(PICTURE, CONTRACT)
            processes = processes_of(running)
            running.stop()
            for _ in range(3):
                with pytest.raises(Draining):
                    running.decode(PICTURE, CONTRACT)

        assert [Path(f"/proc/{pid}").exists() for pid in processes] == [False, False]
        assert open_descriptors() == before

    def test_it_does_not_wait_for_a_busy_process(self) -> None:
        """Whoever waits for its answer, or for a process to be free, is told that all is over."""
        before = open_descriptors()
        with ThreadPoolExecutor(2) as threads, workers(command=HANGING) as running:
            waiting = [threads.submit(running.decode, PICTURE, CONTRACT) for _ in range(2)]
            wait_until(running._idle.empty)
            (process,) = processes_of(running)
            running.stop()

            errors = [future.exception() for future in waiting]

        assert [type(error) for error in errors] == [Draining, Draining]
        assert not Path(f"/proc/{process}").exists()
        assert open_descriptors() == before
        assert LOST == []


def wait_until(claim: Callable[[], bool]) -> None:
    """Wait until something becomes true; the test's time-out bounds it."""
    while not claim():
        os.sched_yield()
