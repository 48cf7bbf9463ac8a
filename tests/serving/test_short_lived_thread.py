"""Threads that compute once end, so that the engine's thread has the cores for itself."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from service.serving.short_lived_thread import in_short_lived_thread

# What OpenMP and others start is no thread of Python's. The models come up on their first engine
# and then on a final one, as in the service; torch must not have computed in this process before.
TEAMS = """
import asyncio, os, threading
from service.engines.device import choose_device
from service.engines.eager import EagerEngine
from service.engines.plan import EnginePlan
from service.config import Settings
from service.serving.short_lived_thread import in_short_lived_thread
from service.serving.runtime import build_runtime
from service.store.load import StoreContents
from tests.running import tiny_model

def plan(loaded, settings):
    device = choose_device("cpu")
    return EnginePlan(*(EagerEngine(loaded, device, "fp32", 2) for _ in range(2)))

async def main():
    contents = StoreContents((in_short_lived_thread(tiny_model),), ())
    models = build_runtime(Settings(), contents, plan).models
    built = asyncio.Event()
    await models.start(on_built=built.set)
    await built.wait()
    model = next(iter(models))
    await model.device.run(model.warm_up, model.batcher.engine)
    print(len(os.listdir("/proc/self/task")) - threading.active_count())
    await models.stop()

asyncio.run(main())
"""


def test_it_returns_what_the_function_returns() -> None:
    """On a thread that has ended by then."""
    thread = in_short_lived_thread(threading.current_thread)

    assert thread is not threading.current_thread()
    assert not thread.is_alive()


def test_it_raises_what_the_function_raises() -> None:
    """The caller's own handling of errors stays where it is."""
    with pytest.raises(ValueError, match="x"):
        in_short_lived_thread(int, "x")


@pytest.mark.skipif(sys.platform != "linux", reason="counts the threads in /proc")
def test_a_service_that_has_come_up_has_one_team_of_threads() -> None:
    """The store, the first engine and the final one have all computed; one partner is left."""
    alone = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "2"}
    run = subprocess.run(
        [sys.executable, "-c", TEAMS], env=alone, capture_output=True, text=True, check=True
    )

    assert run.stdout.splitlines()[-1] == "1"
