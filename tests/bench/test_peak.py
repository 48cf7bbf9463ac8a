"""A machine's peak: of a product, and of multiply-adds alone."""

from __future__ import annotations

import time

import pytest
import torch

from tests.bench.peak import peak_gflops, peak_of_multiply_adds
from tests.engine_builders import needs_compiler


def test_the_peak_is_the_best_product() -> None:
    """2 n^3 operations in the shortest of several times, which take a second at most."""
    moments = iter([0.0, 0.5, 0.5, 0.75, 0.75, 1.25])

    peak = peak_gflops(torch.float32, lambda: next(moments), side=100)

    assert peak == pytest.approx(2 * 100**3 / 0.25 / 1e9)


@needs_compiler
def test_the_peak_of_multiply_adds_is_a_rate_of_many() -> None:
    """Thousands of millions a second: a loop that the compiler leaves out would be faster by far.

    A processor does at most some hundred operations a cycle and core, of some thousand millions.
    """
    peak = peak_of_multiply_adds(1, time.perf_counter)

    assert peak is not None
    assert 1 < peak < 1000


def test_without_a_compiler_the_peak_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bench goes on without it."""
    monkeypatch.setenv("PATH", "")

    assert peak_of_multiply_adds(1, time.perf_counter) is None
