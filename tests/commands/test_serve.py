"""The service as a process: real sockets, real signals, real load."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.processes import PATIENCE_S, Served, ready, serving
from tests.running import PNG, noise, png_of

CLIENTS = 32


@pytest.fixture
def served(store: Path) -> Iterator[Served]:
    """The tiny model behind the real command, ready, and to be stopped."""
    with ready(store) as service:
        yield service


@pytest.fixture(scope="module")
def shared(tiny_version: Path) -> Iterator[Served]:
    """The same for tests that leave it running."""
    with ready(tiny_version.parents[1]) as service:
        yield service


def children_of(pid: int) -> list[int]:
    """The processes that any thread of a process has started."""
    found: list[int] = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # of a thread that has ended meanwhile
            found += map(int, children.read_text().split())
    return found


def compiler_of(pid: int) -> int:
    """The process that compiles for a service, among those that decode for it."""
    (compiler,) = (
        child
        for child in children_of(pid)
        if b"compile" in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
    )
    return compiler


@pytest.mark.skipif(shutil.which("curl") is None, reason="the line is run by a shell with curl")
def test_the_printed_curl_line_works_as_it_stands(shared: Served) -> None:
    """A shell that runs the line gets predictions and a mask."""
    line = shared.said[shared.said.index("curl") :].strip()

    answer = subprocess.run(line, shell=True, capture_output=True, text=True, check=True)

    assert '"predictions"' in answer.stdout
    assert '"masks"' in answer.stdout


def test_good_answers_are_right_and_broken_files_get_their_error_under_load(
    shared: Served,
) -> None:
    """32 clients at once, one in eight with a broken file: each gets what it would alone."""
    images = [png_of(noise(seed)) for seed in range(16)]

    def scores(client: httpx.Client, image: bytes) -> tuple[int, list[float]]:
        reply = client.post("/v1/predict?top_k=3", content=image, headers=PNG)
        results = reply.json().get("results", [{"predictions": []}])
        ranked = sorted(results[0]["predictions"], key=lambda p: p["index"])
        return reply.status_code, [p["score"] for p in ranked]

    with httpx.Client(base_url=shared.address, timeout=PATIENCE_S) as client:
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
        with httpx.Client(base_url=served.address, timeout=PATIENCE_S) as client:
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
        assert enough.wait(PATIENCE_S)
        code = served.stop()
        for client in clients:
            client.result()

    assert code == 0
    assert set(outcomes) <= {"200", "503"}
    assert outcomes["200"] >= CLIENTS


def test_the_service_answers_while_it_compiles_and_stops_then(store: Path, tmp_path: Path) -> None:
    """With tiers the first answer does not wait for the compiler, nor does the end.

    The compiler is a process of its own, which is not left behind.
    """
    cache = tmp_path / "cache"
    with serving(store, "--log-level", "info", "--cache-dir", cache) as service:
        service.hear("engine is being compiled")
        child = compiler_of(service.process.pid)
        compiler = os.pidfd_open(child)
        reply = httpx.post(
            f"{service.address}/v1/predict",
            content=png_of(noise(1)),
            headers=PNG,
            timeout=PATIENCE_S,
        )
        code = service.stop()
    ended, *_ = select.select([compiler], [], [], PATIENCE_S)
    os.close(compiler)

    assert (reply.status_code, reply.json()["engine"], code) == (200, "eager", 0)
    assert ended == [compiler]
    assert list(cache.glob("compiled/*")) == []  # it did not come to an end by itself


def test_a_second_signal_leaves_what_is_inside(served: Served) -> None:
    """The exit code is 1, and the last line says how many images got no answer."""
    host, port = served.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as half_sent, httpx.Client() as client:
        head = "POST /v1/predict HTTP/1.1\r\nHost: service\r\nContent-Type: image/png\r\n"
        half_sent.sendall(f"{head}Content-Length: 1000\r\n\r\nhalf".encode())
        while "sge_body_bytes_in_use 4.0" not in client.get(f"{served.address}/metrics").text:
            pass
        served.process.send_signal(signal.SIGTERM)
        while client.get(f"{served.address}/readyz").status_code == 200:
            pass
        code = served.stop()

    assert code == 1
    assert "left 1 accepted requests without an answer" in served.end()[0]


def test_a_service_without_an_engine_ends(store: Path, tmp_path: Path) -> None:
    """When no model's engine can run the reason is the last line, and the exit code 2.

    As where memory runs out and the kernel ends the process that compiles.
    """
    flags = ["--log-level", "info", "--engine", "compiled", "--tiered", "false"]
    with serving(store, *flags, "--cache-dir", tmp_path) as service:
        service.hear("engine is being compiled")
        compiler = compiler_of(service.process.pid)
        os.kill(compiler, signal.SIGKILL)
        said, code = service.end()

    assert code == 2
    assert said.splitlines()[-1].startswith(
        "no engine runs: the process that compiles was killed by signal 9"
    )
