"""How large batches are after memory ran out."""

from __future__ import annotations

import pytest
import torch

from service.errors import EngineFailed
from service.serving.batch_memory import RETRY_S, BatchMemory, is_out_of_memory
from service.serving.batch_policy import Limits

LIMITS = Limits(max_batch=32, window_s=0.5)


def failure(cause: Exception) -> EngineFailed:
    """A failure of the engine by a cause."""
    failed = EngineFailed(f"the engine raised {cause}")
    failed.__cause__ = cause
    return failed


SHORT = failure(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))


@pytest.mark.parametrize(
    ("cause", "is_short"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (MemoryError(), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_want_of_memory_is_told_by_the_cause(
    cause: Exception,
    is_short: bool,  # noqa: FBT001 - pytest's parameter
) -> None:
    """As torch, numpy and the libraries below them say it."""
    assert is_out_of_memory(failure(cause)) is is_short


def test_batches_stay_small_for_a_while() -> None:
    """At half the size that did not fit; then the whole size is tried again."""
    memory = BatchMemory(LIMITS)

    memory.learn(SHORT, 32, now=100.0)
    memory.learn(SHORT, 16, now=101.0)
    memory.learn(SHORT, 32, now=102.0)  # was on its way

    assert memory.limits_at(102.0) == Limits(max_batch=8, window_s=0.5)
    assert memory.limits_at(102.0 + RETRY_S) == LIMITS


def test_another_failure_changes_nothing() -> None:
    """One image is at fault then, and not the size."""
    memory = BatchMemory(LIMITS)

    memory.learn(failure(ArithmeticError("a poisonous row")), 32, now=100.0)

    assert memory.limits_at(100.0) == LIMITS


def test_a_batch_has_an_image_at_least() -> None:
    """Whatever is learned."""
    memory = BatchMemory(LIMITS)

    memory.learn(SHORT, 1, now=100.0)

    assert memory.limits_at(100.0).max_batch == 1
