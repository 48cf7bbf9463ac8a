"""Time and memory of starting the service, each time in a process of its own."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx

from service.config import Settings, flags_of
from service.engines.background_build import program_of
from tests.bench.entrants import CannotRun, Note
from tests.bench.pictures import jpeg
from tests.bench.report import Absent, StartUp
from tests.bench.rounds import Clock

PATIENCE_S = 900.0  # compiling every batch size of a large network, on a slow machine
STOP_S = 60.0

# What this very process keeps its compiled graphs in must not reach the ones it starts: they have
# a cache folder of their own. `env` takes the variable away without the rest being read here.
_WITHOUT_CACHE = ("env", "-u", "TORCHINDUCTOR_CACHE_DIR")


def bench_start_up(
    settings: Settings, engines: Sequence[str], note: Note, clock: Clock
) -> tuple[list[StartUp], list[Absent]]:
    """Start the service on an empty cache folder, and again on what that start left there.

    The eager engine keeps nothing there, and starts once.
    """
    found: list[StartUp] = []
    absent: list[Absent] = []
    for engine in engines:
        flags = flags_of(settings.model_copy(update={"engine": engine, "port": 0}))
        command = [*_WITHOUT_CACHE, *program_of("service.cli"), "serve", *flags]
        for cache in ("empty",) if engine == "eager" else ("empty", "full"):
            note(f"starting the service on the {engine} engine, its cache {cache}")
            try:
                found.append(start(command, engine, cache, clock))
            except CannotRun as error:
                absent.append(Absent(f"start-up of {engine}, cache {cache}", str(error)))
                break
    return found, absent


def start(command: Sequence[str], engine: str, cache: str, clock: Clock) -> StartUp:
    """Start a service, wait for its first answer, and stop it.

    Raises:
        CannotRun: it ended before it was ready, or did not answer.
    """
    picture = jpeg(256, 256)
    began = clock()
    with _process(command) as process:
        address = _wait_until_ready(process)
        ready_s = clock() - began
        answer = httpx.post(
            f"{address}/v1/predict",
            content=picture,
            headers={"Content-Type": "image/jpeg"},
            timeout=PATIENCE_S,
        )
        answered_s = clock() - began
        if answer.status_code != 200:
            raise CannotRun(f"the first answer had the status {answer.status_code}")
        return StartUp(engine, cache, ready_s, answered_s, _memory_peak_mb(process.pid))


@contextlib.contextmanager
def _process(command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """Start a service whose output is read; at the end it is gone, whatever happened."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        alarm = threading.Timer(PATIENCE_S, process.kill)
        alarm.start()
        try:
            yield process
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
        finally:
            alarm.cancel()
            process.kill()


def _wait_until_ready(process: subprocess.Popen[str]) -> str:
    """Read the service's lines up to the one that says it is ready; returns its address."""
    address, last = "", "nothing"
    for line in process.stdout or ():
        last = line.strip() or last
        if " starts at " in line:
            address = line.rpartition(" starts at ")[2].strip()
        if line.startswith("ready:"):
            return address
    raise CannotRun(f"it ended before it was ready; it last said: {last}")


def _memory_peak_mb(pid: int) -> float | None:
    """The most memory that a process had, as Linux keeps count of it."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return None
    found = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(found[0]) / 1000 if found else None
