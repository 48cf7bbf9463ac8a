"""CUDA graphs: a program recorded once a bucket, and replayed without launching single kernels.

Written without a GPU at hand: the choice of buckets is tested, the recording has never run.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

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


class RecordedProgram:
    """A program that runs every batch in the smallest bucket that holds it.

    What a bucket holds beside the batch is computed for nothing: less than the batch itself takes,
    since buckets are powers of two.

    Args:
        program: takes and returns tensors of the current CUDA device.
        example: an input of the largest batch.
    """

    def __init__(self, program: Program, example: Tensor) -> None:
        pool = torch.cuda.graph_pool_handle()  # buckets run in turn, so they share memory
        self.recordings = {
            size: _record(program, example[:size], pool)
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


def _record(program: Program, example: Tensor, pool: Any) -> Recording:
    batch = example.clone()
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(RUNS_BEFORE_RECORDING):
            program([batch])
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    # Another engine may answer meanwhile: what its threads allocate must not spoil the recording.
    with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
        outputs = program([batch])
    return Recording(graph, batch, outputs)
