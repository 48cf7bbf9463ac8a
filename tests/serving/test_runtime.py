"""The parts of a service, put together for many pictures."""

from __future__ import annotations

import os

from service.config import Settings
from service.serving.decode_workers import MemoryBudget
from service.serving.runtime import build_decoders
from tests.running import grey, tiny_model


def test_decoders_may_give_way_to_the_engine() -> None:
    """Each process is so much nicer than this one, as far as that goes."""
    decoders = build_decoders(Settings(decode_workers=1), MemoryBudget(100_000_000), niceness=10)
    decoders.start()

    decoders.decode(grey(90), tiny_model().manifest.input)
    process = decoders._workers[0]._process
    niceness = os.getpriority(os.PRIO_PROCESS, process.pid if process else 0)
    decoders.stop()

    assert niceness == min(19, os.nice(0) + 10)
