"""The service as a process: real sockets, real signals, real load."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest

from service.commands.serve import set_aside_what_stays
from service.store.write import write_version
from tests.running import noise, png_of
from tests.store_fixtures import new_tiny_version

CLIENTS = 32
PNG = {"Content-Type": "image/png"}


@dataclass(frozen=True, slots=True)
class Served:
    """A service in a process of its own, ready."""

    process: subprocess.Popen[str]
    address: str
    greeting: str

    def stop(self) -> int:
        """Send SIGTERM and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """The tiny model behind the real command, on a free port."""
    write_version(tmp_path / "store", new_tiny_version())
    with start(tmp_path, "--engine", "eager") as process:
        lines = []
        for line in process.stdout or []:
            lines.append(line)
            if "curl" in line:
                break
        greeting = "".join(lines)
        address = re.search(r"starts at (\S+)", greeting)
        assert address is not None, greeting
        yield Served(process, address[1], greeting)
        process.kill()


def start(folder: Path, *flags: str, **variables: str) -> subprocess.Popen[str]:
    """Start `sge-serve serve` on a free port of loopback, with further environment variables."""
    command = [sys.executable, "-m", "service", "serve", "--port", "0", "--device", "cpu"]
    log = (folder / "log").open("w")
    with log:
        return subprocess.Popen(
            [*command, "--model-store", str(folder / "store"), *flags],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"} | variables,
        )


def children_of(pid: int) -> list[int]:
    """The processes that any thread of a process has started."""
    found: list[int] = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # of a thread that has ended meanwhile
            found += map(int, children.read_text().split())
    return found


@pytest.mark.skipif(shutil.which("curl") is None, reason="the line is run by a shell with curl")
def test_the_printed_curl_line_works_as_it_stands(served: Served) -> None:
    """A shell that runs the line gets predictions and a mask."""
    line = served.greeting[served.greeting.index("curl") :].strip()

    answer = subprocess.run(
        line, shell=True, capture_output=True, text=True, check=True, timeout=60
    )

    assert '"predictions"' in answer.stdout
    assert '"masks"' in answer.stdout


@pytest.mark.slow
def test_good_answers_are_right_and_broken_files_get_their_error_under_load(
    served: Served,
) -> None:
    """32 clients at once, one in eight with a broken file: each gets what it would alone."""
    images = [png_of(noise(seed)) for seed in range(16)]

    def scores(client: httpx.Client, image: bytes) -> tuple[int, list[float]]:
        reply = client.post("/v1/predict?top_k=3", content=image, headers=PNG)
        results = reply.json().get("results", [{"predictions": []}])
        ranked = sorted(results[0]["predictions"], key=lambda p: p["index"])
        return reply.status_code, [p["score"] for p in ranked]

    with httpx.Client(base_url=served.address, timeout=60) as client:
        alone = [scores(client, image) for image in images]
        is_broken = [number % 8 == 0 for number in range(12 * CLIENTS)]
        with ThreadPoolExecutor(CLIENTS) as pool:
            answers = list(
                pool.map(
                    lambda n: scores(client, b"broken" if is_broken[n] else images[n % 16]),
                    range(12 * CLIENTS),
                )
            )

    broken = [a for a, bad in zip(answers, is_broken, strict=True) if bad]
    good = [(a, alone[n % 16]) for n, a in enumerate(answers) if not is_broken[n]]
    assert {status for status, _ in broken} == {400}
    assert {given[0] for given, _ in good} == {200}
    given = np.array([given[1] for given, _ in good])
    np.testing.assert_allclose(given, [expected[1] for _, expected in good], atol=1e-4)
    assert served.stop() == 0


@pytest.mark.slow
def test_a_stop_under_load_answers_every_accepted_request(served: Served) -> None:
    """After SIGTERM: what was accepted is answered, what comes is refused, exit code 0."""
    image = png_of(noise(1, side_px=400))
    outcomes: Counter[str] = Counter()
    enough, lock = threading.Event(), threading.Lock()

    def note(outcome: str) -> None:
        with lock:
            outcomes[outcome] += 1
            if outcomes["200"] >= CLIENTS:
                enough.set()

    def post_until_refused() -> None:
        with httpx.Client(base_url=served.address, timeout=60) as client:
            while True:
                try:
                    reply = client.post("/v1/predict", content=image, headers=PNG)
                except httpx.ConnectError:
                    return  # nobody listens any more
                note(str(reply.status_code))
                if reply.status_code == 503:
                    return

    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(post_until_refused) for _ in range(CLIENTS)]
        assert enough.wait(60)
        code = served.stop()
        for client in clients:
            client.result()

    assert code == 0
    assert set(outcomes) <= {"200", "503"}
    assert outcomes["200"] >= CLIENTS


@pytest.mark.slow
def test_the_service_answers_while_it_compiles_and_stops_then(tmp_path: Path) -> None:
    """With tiers the first answer does not wait for the compiler, nor does the end.

    The compiler is a process of its own, which is not left behind.
    """
    write_version(tmp_path / "store", new_tiny_version())
    with start(tmp_path, "--cache-dir", str(tmp_path / "cache")) as process:
        greeting = ""
        for line in process.stdout or []:
            greeting += line
            if "curl" in line:
                break
        address = re.search(r"starts at (\S+)", greeting)
        assert address is not None, greeting
        reply = httpx.post(
            f"{address[1]}/v1/predict", content=png_of(noise(1)), headers=PNG, timeout=60
        )
        while not (children := children_of(process.pid)):
            pass
        compiler = os.pidfd_open(children[0])
        process.send_signal(signal.SIGTERM)
        code = process.wait(20)  # the compiler would take longer than that to end by itself
    ended, *_ = select.select([compiler], [], [], 20)
    os.close(compiler)

    assert (reply.status_code, reply.json()["engine"], code) == (200, "eager", 0)
    assert ended == [compiler]


@pytest.mark.slow
def test_a_second_signal_leaves_what_is_inside(served: Served) -> None:
    """The exit code is 1, and the last line says how many images got no answer."""
    host, port = served.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as half_sent, httpx.Client() as client:
        head = "POST /v1/predict HTTP/1.1\r\nHost: service\r\nContent-Type: image/png\r\n"
        half_sent.sendall(f"{head}Content-Length: 1000\r\n\r\nhalf".encode())
        while "sge_permits_in_use 1.0" not in client.get(f"{served.address}/metrics").text:
            pass
        served.process.send_signal(signal.SIGTERM)
        while client.get(f"{served.address}/readyz").status_code == 200:
            pass
        code = served.stop()

    assert code == 1
    assert (
        "left 1 accepted images without an answer"
        in (served.process.stdout or io.StringIO()).read()
    )


@pytest.mark.slow
def test_a_service_without_an_engine_ends(tmp_path: Path) -> None:
    """When no model's engine can run the reason is the last line, and the exit code 2."""
    write_version(tmp_path / "store", new_tiny_version())
    flags = ["--engine", "compiled", "--tiered", "false", "--cache-dir", str(tmp_path / "cache")]

    with start(tmp_path, *flags, CXX="no-compiler") as process:
        said = (process.stdout or io.StringIO()).read()
        code = process.wait(60)

    assert code == 2
    assert "no engine runs: the engine raised" in said


def test_a_taken_port_is_one_clear_line(served: Served, tmp_path: Path) -> None:
    """A second service on the same port leaves with exit code 2 and says why."""
    port = served.address.rpartition(":")[2]
    command = [sys.executable, "-m", "service", "serve", "--port", port, "--engine", "stub"]

    second = subprocess.run(
        [*command, "--model-store", str(tmp_path / "store")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert second.returncode == 2
    assert f"cannot listen on SGE_HOST=127.0.0.1 SGE_PORT={port}" in second.stderr


def test_collections_of_garbage_pass_over_what_stays() -> None:
    """A collection of the modules of torch takes longer than many a batch."""
    before = gc.get_freeze_count()
    try:
        set_aside_what_stays()
        frozen = gc.get_freeze_count()
    finally:
        gc.unfreeze()

    assert frozen > before + 100_000
