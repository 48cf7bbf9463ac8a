"""CUDA graphs: a program recorded once a bucket, and replayed without launching single kernels.

Written without a GPU at hand: the choice of buckets is tested, the recording has never run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    """A program that runs every batch in buckets: cut into several or padded to one.

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
        seconds = {size: _seconds(recording) for size, recording in self.recordings.items()}
        self.cuts = {size: cheapest_cut(size, seconds) for size in range(1, len(example) + 1)}

    def __call__(self, inputs: list[Tensor]) -> list[Tensor]:
        """Run the one input; the list is emptied, as a program does."""
        batch = inputs.pop()
        buckets = self.cuts[len(batch)]
        parts, start = [], 0
        for bucket in buckets:
            outputs = self.recordings[bucket].replay(batch[start : start + bucket])
            # A later replay of the same bucket would overwrite what this one returned.
            parts.append([part.clone() for part in outputs] if len(buckets) > 1 else outputs)
            start += bucket
        return [torch.cat(rows) if len(rows) > 1 else rows[0] for rows in zip(*parts, strict=True)]


def bucket_sizes(max_batch: int) -> list[int]:
    """The powers of two below the largest batch, and that one."""
    powers = [2**power for power in range(max_batch.bit_length())]
    return [*(size for size in powers if size < max_batch), max_batch]


def cheapest_cut(batch: int, seconds: Mapping[int, float]) -> Sequence[int]:
    """Cover a batch by buckets in the least time; a bucket may be filled in part.

    Args:
        batch: images.
        seconds: of each bucket.

    Returns:
        Buckets, the largest first.
    """
    cheapest: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    for images in range(1, batch + 1):
        candidates = []
        for bucket, time_s in seconds.items():
            rest_s, rest = cheapest[max(0, images - bucket)]
            candidates.append((time_s + rest_s, (bucket, *rest)))
        cheapest.append(min(candidates, key=lambda candidate: (candidate[0], len(candidate[1]))))
    return sorted(cheapest[batch][1], reverse=True)


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


def _seconds(recording: Recording, runs: int = 10) -> float:
    start, end = (
        torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        for _ in range(2)
    )
    start.record()
    for _ in range(runs):
        recording.graph.replay()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1000 / runs
