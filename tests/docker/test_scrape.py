"""Prometheus itself, by the shipped configuration, against a running service under load."""

from __future__ import annotations

import contextlib
import math
import queue
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.docker.test_monitoring import PROMETHEUS, panel_queries, rules
from tests.running import PNG, noise, png_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("prometheus") is None,
        reason="prometheus (Debian: prometheus) is not installed",
    ),
]

START_WITHIN_S = 120
WITHIN_S = 120  # two scrapes and a round of rules take 20 s where nothing else runs
LOOK_EVERY_S = 0.5
POST_EVERY_S = 0.1


@contextlib.contextmanager
def process(*command: str | Path) -> Iterator[Callable[[str], re.Match[str]]]:
    """A process that ends with the block; yields what waits for a pattern in its lines."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as started:
        lines: queue.SimpleQueue[str] = queue.SimpleQueue()

        def read() -> None:  # to the end, since a full pipe would stop the process
            for line in started.stdout or ():
                lines.put(line)

        def heard(pattern: str) -> re.Match[str]:
            said: list[str] = []
            while not (found := re.search(pattern, "".join(said[-1:]))):
                try:
                    said.append(lines.get(timeout=START_WITHIN_S))
                except queue.Empty:
                    pytest.fail(f"{command[0]} said only: {''.join(said)}")
            return found

        reading = threading.Thread(target=read)
        reading.start()
        try:
            yield heard
        finally:
            started.terminate()
            reading.join()


@contextlib.contextmanager
def service_under_load(store: Path) -> Iterator[str]:
    """A service without a model's weight, to which pictures are posted; yields its address."""
    serve = (sys.executable, "-m", "service", "serve", "--port", "0", "--engine", "stub")
    picture, is_over = png_of(noise(1)), threading.Event()

    def post_until_over(address: str) -> None:
        with httpx.Client(base_url=address, timeout=60) as client:
            while not is_over.wait(POST_EVERY_S):
                client.post("/v1/predict", content=picture, headers=PNG)

    with process(*serve, "--model-store", store) as heard:
        address = heard(r"page +(http://\S+)/$")[1]
        posting = threading.Thread(target=post_until_over, args=(address,))
        posting.start()
        try:
            yield address
        finally:
            is_over.set()
            posting.join()


@contextlib.contextmanager
def prometheus(folder: Path, target: str) -> Iterator[httpx.Client]:
    """Prometheus by the shipped files, the target put in place of the container's name."""
    shutil.copytree(PROMETHEUS, folder / "prometheus")
    (folder / "prometheus" / "targets" / "sge-serve.yml").write_text(f"- targets: ['{target}']\n")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = (
        "prometheus",
        f"--config.file={folder / 'prometheus' / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address={address}",
    )
    with process(*command) as heard, httpx.Client(base_url=f"http://{address}/api/v1") as client:
        heard("ready to receive web requests")
        yield client


def values(client: httpx.Client, query: str) -> list[float]:
    """The numbers that a query returns now, without those that are none."""
    answer = client.get("/query", params={"query": query}).raise_for_status().json()["data"]
    numbers = [float(series["value"][1]) for series in answer["result"]]
    return [number for number in numbers if not math.isnan(number)]


def test_prometheus_scrapes_the_service_and_every_panel_has_data(
    store: Path, tmp_path: Path
) -> None:
    """The target is up, every rule is evaluated, and each panel's queries return numbers."""
    waiting = {query.text: query.place for query in panel_queries()}

    with (
        service_under_load(store) as address,
        prometheus(tmp_path, address.removeprefix("http://")) as client,
    ):
        pace, end = threading.Event(), time.monotonic() + WITHIN_S
        while waiting and time.monotonic() < end:
            pace.wait(LOOK_EVERY_S)
            waiting = {text: place for text, place in waiting.items() if not values(client, text)}
        (target,) = client.get("/targets").json()["data"]["activeTargets"]
        groups = client.get("/rules").json()["data"]["groups"]

    loaded: list[dict[str, Any]] = [rule for group in groups for rule in group["rules"]]
    firing = [rule["name"] for rule in loaded if rule.get("state") == "firing"]
    assert waiting == {}
    assert (target["health"], target["lastError"]) == ("up", "")
    assert {rule["name"] for rule in loaded} == {
        rule.get("alert") or rule["record"] for rule in rules()
    }
    assert {rule["health"] for rule in loaded} == {"ok"}
    assert firing == []
