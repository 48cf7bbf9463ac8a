"""Which bucket a batch is padded to, and what is left of a recording that failed."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import Tensor

from service.engines.aoti.cuda_graphs import bucket_of, bucket_sizes, ending_capture
from tests.engine_builders import compiled, no_cuda


class FakeCapture:
    """Remembers what is done with it, as CUDA sees it.

    Args:
        is_refused: whether CUDA fails to end it.
    """

    def __init__(self, *, is_refused: bool = False) -> None:
        self.is_refused = is_refused
        self.is_capturing = True
        self.has_memory = True

    def capture_end(self) -> None:
        """Leave the midst of the recording, with an error or without."""
        self.is_capturing = False
        if self.is_refused:
            raise RuntimeError("operation failed due to a previous error during capture")

    def reset(self) -> None:
        """Let go of the memory."""
        self.has_memory = False


@pytest.mark.parametrize(
    ("max_batch", "sizes"), [(1, [1]), (2, [1, 2]), (8, [1, 2, 4, 8]), (12, [1, 2, 4, 8, 12])]
)
def test_buckets_are_powers_of_two_and_the_largest_batch(max_batch: int, sizes: list[int]) -> None:
    """Each once, ascending."""
    assert bucket_sizes(max_batch) == sizes


@pytest.mark.parametrize("max_batch", [1, 5, 12, 16])
def test_a_batch_runs_in_a_bucket_less_than_twice_as_large(max_batch: int) -> None:
    """Every batch up to the largest has one that holds it."""
    for images in range(1, max_batch + 1):
        assert images <= bucket_of(images, bucket_sizes(max_batch)) < 2 * images


@pytest.mark.parametrize("is_refused", [False, True])
def test_a_recording_that_fails_is_ended(*, is_refused: bool) -> None:
    """Whether or not CUDA takes the end well, the error is the one that came first."""
    capture = FakeCapture(is_refused=is_refused)

    with (
        pytest.raises(RuntimeError, match="cannot be recorded"),
        ending_capture(capture, lambda: capture.is_capturing),
    ):
        raise RuntimeError("an operation that cannot be recorded")

    assert (capture.is_capturing, capture.has_memory) == (False, False)


def test_a_recording_that_was_ended_is_not_ended_again() -> None:
    """As where torch ended it, and CUDA refused what it held."""
    capture = FakeCapture(is_refused=True)

    with pytest.raises(RuntimeError), ending_capture(capture, lambda: capture.is_capturing):
        capture.capture_end()

    assert (capture.is_capturing, capture.has_memory) == (False, False)


def test_a_recording_that_succeeds_is_kept() -> None:
    """Its memory with it."""
    capture = FakeCapture()

    with ending_capture(capture, lambda: capture.is_capturing):
        capture.capture_end()

    assert (capture.is_capturing, capture.has_memory) == (False, True)


@no_cuda
def test_a_program_that_cuda_does_not_record_runs_as_it_is(tmp_path: Path) -> None:
    """Slower, but it answers."""

    def program(inputs: list[Tensor]) -> list[Tensor]:
        return inputs

    assert compiled(tmp_path)._recorded(program) is program
