"""How large a batch may be: as an operator decided, or as memory allowed of late."""

from __future__ import annotations

import dataclasses

from service.errors import EngineFailed
from service.serving.batch_policy import Limits

RETRY_S = 60.0  # memory may have been short for a moment: the whole size is tried again after it
# What torch and the libraries below it say on a GPU and on a CPU, where they have no class for it.
_SHORT = ("out of memory", "can't allocate memory", "not enough memory")


class BatchMemory:
    """Remembers for a while at which size memory ran out, so that not every batch runs twice.

    Args:
        limits: what an operator decided.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._fits = limits.max_batch
        self._until = 0.0

    def limits_at(self, now: float) -> Limits:
        """What holds at a moment."""
        if now >= self._until:
            return self._limits
        return dataclasses.replace(self._limits, max_batch=self._fits)

    def learn(self, error: EngineFailed, entries: int, now: float) -> None:
        """Take a failure of a batch into account, which counts where memory ran out."""
        if is_out_of_memory(error):
            self._fits = max(1, min(entries // 2, self.limits_at(now).max_batch))
            self._until = now + RETRY_S


def is_out_of_memory(error: EngineFailed) -> bool:
    """Whether a failure of the engine was for want of memory, as its cause says."""
    cause = error.__cause__
    is_told = isinstance(cause, RuntimeError) and any(said in str(cause).lower() for said in _SHORT)
    return isinstance(cause, MemoryError) or is_told
