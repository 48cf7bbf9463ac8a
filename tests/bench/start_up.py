"""Time and memory of starting the service, each time in a process of its own."""

from __future__ import annotations

import contextlib
import functools
import http.client
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.config import Settings, flags_of
from service.engines.background_build import THIS_PROGRAM
from tests.bench.entrants import CannotRun
from tests.bench.pictures import bmp
from tests.bench.report import Absent, StartUp
from tests.bench.rounds import Clock

STARTED = ("eager", "compiled")
PATIENCE_S = 900.0  # compiling every batch size of a large network, on a slow machine
STOP_S = 60.0

# What this very process keeps its compiled graphs in must not reach the ones it starts: each has
# a cache folder of its own. `env` takes the variable away without the rest being read here.
_WITHOUT_CACHE = ("env", "-u", "TORCHINDUCTOR_CACHE_DIR")


@dataclass(frozen=True, slots=True)
class StartUpBench:
    """What to start.

    Attributes:
        store: holds the model that is served.
        engines: names of `SGE_ENGINE`; one that keeps nothing in the cache starts once.
        precision: of all of them, a value of `SGE_PRECISION`.
        device: where they run, a value of `SGE_DEVICE`.
        threads: of one forward pass.
        max_batch: images in the largest batch.
        folder: where each engine keeps what it compiles.
    """

    store: Path
    engines: tuple[str, ...]
    precision: str
    device: str
    threads: int
    max_batch: int
    folder: Path

    def cache_of(self, engine: str) -> Path:
        """The cache folder of an engine."""
        return self.folder / f"cache-{engine}"


@dataclass(frozen=True, slots=True)
class StartUps:
    """What was measured, and what could not be."""

    found: tuple[StartUp, ...]
    absent: tuple[Absent, ...]


def bench_start_up(wanted: StartUpBench, note: Callable[[str], None], clock: Clock) -> StartUps:
    """Start the service on an empty cache folder, and again on what that start left there."""
    found: list[StartUp] = []
    absent: list[Absent] = []
    for engine in wanted.engines:
        caches = ("empty",) if engine == "eager" else ("empty", "full")
        for cache in caches:
            note(f"starting the service on the {engine} engine, its cache {cache}")
            try:
                found.append(start(_command(wanted, engine), engine, cache, clock))
            except CannotRun as error:
                absent.append(Absent(f"start-up of {engine}, cache {cache}", str(error)))
                break
    return StartUps(tuple(found), tuple(absent))


def _command(wanted: StartUpBench, engine: str) -> list[str]:
    values: dict[str, Any] = {
        "port": 0,
        "model_store": wanted.store,
        "cache_dir": wanted.cache_of(engine),
        "engine": engine,
        "precision": wanted.precision,
        "device": wanted.device,
        "threads": wanted.threads,
        "max_batch": wanted.max_batch,
        "tiered": False,
        "log_level": "error",
    }
    # What the environment says is of another service: it is not read here, and flags win over it.
    settings = Settings.model_construct(**values)
    return [*_WITHOUT_CACHE, *THIS_PROGRAM, "serve", *flags_of(settings)]


def start(command: Sequence[str], engine: str, cache: str, clock: Clock) -> StartUp:
    """Start a service, wait for its first answer, and stop it.

    Raises:
        CannotRun: it ended before it was ready, or did not answer.
    """
    began = clock()
    with _process(command) as process:
        address = _wait_until_ready(process)
        ready_s = clock() - began
        _ask(address)
        answered_s = clock() - began
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
    for line in iter(process.stdout.readline, "") if process.stdout else ():
        last = line.strip() or last
        if " starts at " in line:
            address = line.rpartition(" starts at ")[2].strip()
        if line.startswith("ready:"):
            return address
    raise CannotRun(f"it ended before it was ready; it last said: {last}")


def _ask(address: str) -> None:
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=PATIENCE_S)
    with contextlib.closing(connection):
        connection.request("POST", "/v1/predict", _picture(), {"Content-Type": "image/bmp"})
        answer = connection.getresponse()
        answer.read()
    if answer.status != 200:
        raise CannotRun(f"the first answer had the status {answer.status}")


@functools.cache
def _picture() -> bytes:
    return bmp(256)


def _memory_peak_mb(pid: int) -> float | None:
    """The most memory that a process had, as Linux keeps count of it."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return None
    found = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(found[0]) / 1000 if found else None
