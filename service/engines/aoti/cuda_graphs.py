"""CUDA graphs: a program recorded once a bucket, and replayed without launching single kernels.

Written without a GPU at hand: the choice of buckets is tested, the recording has never run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from service.engines.aoti.package import Program

RUNS_BEFORE_RECORDING = 3  # lazy initialisation must not be recorded


@dataclass(frozen=True, slots=True)
class Recording:
    """A graph, and the memory that it reads from and writes to."""

    graph: torch.cuda.CUDAGraph
    batch: Tensor
    outputs: list[Tensor]

    def replay(self, batch: Tensor) -> list[Tensor]:
        """Run a batch of at most the bucket's size; the next replay overwrites what it returns."""
        self.batch[: len(batch)].copy_(batch, non_blocking=True)
        self.graph.replay()
        return [output[: len(batch)] for output in self.outputs]


def bytes_to_record(program: Program, example: Tensor) -> int:
    """Measure what recording every bucket takes: run the largest once, on the current stream.

    That is what it takes while it runs, and what all others write to: less than what it writes to
    itself. What another engine takes meanwhile is counted, too.
    """
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    outputs = program([example])
    torch.cuda.current_stream().synchronize()
    return torch.cuda.max_memory_allocated() - before + sum(output.nbytes for output in outputs)


class RecordedProgram:
    """A program that runs every batch in the smallest bucket that holds it.

    What a bucket holds beside the batch is computed for nothing: less than the batch itself takes,
    since buckets are powers of two.

    Args:
        program: takes and returns tensors of the current CUDA device.
        example: an input of the largest batch.
    """

    def __init__(self, program: Program, example: Tensor) -> None:
        # Buckets run in turn, so they share their input and, on one stream, their memory.
        pool = torch.cuda.graph_pool_handle()
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self.recordings = {
            size: _record(program, example[:size], pool, stream)
            for size in reversed(bucket_sizes(len(example)))
        }

    def __call__(self, inputs: list[Tensor]) -> list[Tensor]:
        """Run the one input; the list is emptied, as a program does."""
        batch = inputs.pop()
        return self.recordings[bucket_of(len(batch), self.recordings)].replay(batch)


def bucket_sizes(max_batch: int) -> list[int]:
    """The powers of two below the largest batch, and that one."""
    powers = [2**power for power in range(max_batch.bit_length())]
    return [*(size for size in powers if size < max_batch), max_batch]


def bucket_of(images: int, sizes: Iterable[int]) -> int:
    """The smallest of the sizes that holds so many images."""
    return min(size for size in sizes if size >= images)


class Capture(Protocol):
    """What is done with a CUDA graph whose recording failed."""

    def capture_end(self) -> None:
        """End the recording."""

    def reset(self) -> None:
        """Let go of its memory."""


@contextlib.contextmanager
def ending_capture(
    capture: Capture, is_capturing: Callable[[], bool] = torch.cuda.is_current_stream_capturing
) -> Iterator[None]:
    """Leave nothing behind where a recording fails: a stream in the midst of one takes no work.

    Args:
        capture: what is recorded inside, on the current stream.
        is_capturing: whether the current stream is in the midst of a recording.
    """
    try:
        yield
    except BaseException:
        with contextlib.suppress(RuntimeError):  # CUDA says once more why it failed
            if is_capturing():
                capture.capture_end()
        with contextlib.suppress(RuntimeError):
            capture.reset()
        raise


def _record(program: Program, batch: Tensor, pool: Any, stream: torch.cuda.Stream) -> Recording:
    stream.wait_stream(torch.cuda.current_stream())
    graph = torch.cuda.CUDAGraph()
    # torch gives a thread its stream back only where the recording ends well: this does always.
    with torch.cuda.stream(stream):
        for _ in range(RUNS_BEFORE_RECORDING):
            program([batch])
        # Another engine may answer meanwhile: what its threads do must not spoil the recording.
        with (
            ending_capture(graph),
            torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"),
        ):
            outputs = program([batch])
    torch.cuda.current_stream().wait_stream(stream)
    return Recording(graph, batch, outputs)
