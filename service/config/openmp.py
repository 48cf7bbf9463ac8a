"""What OpenMP reads from the environment when torch is loaded."""

from __future__ import annotations

import os

OPENMP_SPINS = "3000"  # 30 microseconds, about what it costs to sleep and be woken instead


def bound_openmp_waiting() -> None:
    """Let a thread of a forward pass that waits for another one give its core away soon.

    GNU's OpenMP waits awake for 3 ms at each of a hundred loops of a pass, also while the thread it
    waits for has no core, as decoding or another process has it: a pass takes ten times as long
    then. Whoever sets one of OpenMP's own variables is heard. To be called before torch is loaded.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", OPENMP_SPINS)
