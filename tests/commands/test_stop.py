"""The end of the process: in good order where it can be, in time whatever hangs."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.processes import Served, ready, running
from tests.running import PNG, grey

pytestmark = pytest.mark.slow

DRAIN_S = 1
HANGING = """
import sys
from service.commands.serve import serve
from service.logs import configure_logs
from tests.connecting import new_runtime
from tests.fakes import GatedEngine

configure_logs("info", "json")
runtime = new_runtime(GatedEngine(), port=0, drain_timeout_s=int(sys.argv[1]))
sys.exit(serve(runtime, 0, lambda text: print(text, flush=True)))
"""
DEAF = """
import re, signal
from service.api.last_resort import LastResort

last_resort = LastResort()
last_resort.start()
last_resort.arm(0.2)
re.match("(a+)+$", "a" * 64 + "b")  # holds the GIL, and would for years
"""


@pytest.fixture
def hanging(request: pytest.FixtureRequest) -> Iterator[Served]:
    """A service whose passes never end; a number from the test is its drain's time."""
    drain_s = getattr(request, "param", DRAIN_S)
    with running([sys.executable, "-c", HANGING, str(drain_s)]) as service:
        service.hear("curl")
        yield service


def give_up_waiting(service: Served) -> httpx.Response:
    """Send a picture whose deadline comes while it is in the pass."""
    headers = PNG | {"X-Request-Deadline-Ms": "200"}
    return httpx.post(f"{service.address}/v1/predict", content=grey(1), headers=headers)


def is_listening(service: Served) -> bool:
    """Whether anybody may connect."""
    try:
        return httpx.get(f"{service.address}/healthz").is_success
    except httpx.TransportError:
        return False


def test_a_pass_that_hangs_does_not_keep_the_process(hanging: Served) -> None:
    """The drain's time and 2 s after the signal it is gone, and the log says why."""
    refused = give_up_waiting(hanging)
    code = hanging.stop(timeout_s=DRAIN_S + 2)

    assert (refused.status_code, code) == (504, 1)
    assert "the end does not come by itself" in hanging.end()[0]


@pytest.mark.parametrize("hanging", [30], indirect=True)
def test_a_second_signal_ends_at_once_what_hangs(hanging: Served) -> None:
    """Whatever is left of the drain's time."""
    give_up_waiting(hanging)
    hanging.process.send_signal(signal.SIGTERM)
    while is_listening(hanging):
        pass
    code = hanging.stop(timeout_s=2)

    assert code == 1


def test_native_code_that_holds_the_gil_does_not_keep_the_process() -> None:
    """No thread can run then: the system's alarm ends the process."""
    done = subprocess.run([sys.executable, "-c", DEAF], timeout=20, check=False)

    assert done.returncode == -signal.SIGALRM


def test_a_terminal_that_is_closed_stops_the_service_in_good_order(tiny_version: Path) -> None:
    """The process ends with 0, though nobody can read its last words."""
    controller, terminal = pty.openpty()
    command = ["setsid", "--ctty", sys.executable, "-m", "service", "serve", "--port", "0"]
    variables = {"SGE_ENGINE": "stub", "SGE_MODEL_STORE": str(tiny_version.parents[1])}
    with running(command, terminal, variables) as service:
        os.close(terminal)
        service.hear("curl")
        os.close(controller)
        code = service.process.wait(30)

    assert code == 0


def test_nohup_is_honoured(tiny_version: Path) -> None:
    """Who starts the service under `nohup` means it to outlive the terminal."""
    store = tiny_version.parents[1]
    with ready(store, engine="stub", before=("nohup",)) as service:
        service.process.send_signal(signal.SIGHUP)
        reply = httpx.post(f"{service.address}/v1/predict", content=grey(1), headers=PNG)
        code = service.stop()

    assert (reply.status_code, code) == (200, 0)
