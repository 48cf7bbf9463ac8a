"""Starting the service, played by a short script."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from service.config import Settings
from tests.bench.entrants import CannotRun
from tests.bench.networks import random_model
from tests.bench.start_up import bench_start_up, start
from tests.store_fixtures import TINY

SERVICE = """
import http.server, sys

class Reply(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(STATUS)
        self.end_headers()

    def log_message(self, *_):
        pass

server = http.server.HTTPServer(("127.0.0.1", 0), Reply)
print(f"sge-serve starts at http://127.0.0.1:{server.server_port}", flush=True)
print("ready: tiny/1 on the eager engine", flush=True)
server.serve_forever()
"""


def played(status: int = 200) -> list[str]:
    """A command whose service answers with a status."""
    return [sys.executable, "-c", SERVICE.replace("STATUS", str(status))]


def test_a_start_is_timed_up_to_the_first_answer() -> None:
    """Ready, then answered; the memory is that of the process; at the end it is gone."""
    began = time.perf_counter()

    found = start(played(), "eager", "empty", time.perf_counter)

    took = time.perf_counter() - began
    assert (found.engine, found.cache) == ("eager", "empty")
    assert 0 < found.ready_s <= found.answered_s < took
    assert found.memory_peak_mb is None or found.memory_peak_mb > 1


def test_a_service_that_ends_at_once_cannot_be_measured() -> None:
    """Its last words are the reason."""
    with pytest.raises(CannotRun, match="it last said: no such model"):
        start([sys.executable, "-c", "print('no such model')"], "eager", "empty", time.time)


def test_a_service_that_answers_with_an_error_cannot_be_measured() -> None:
    """A quick 500 is no quick start."""
    with pytest.raises(CannotRun, match=r"^the first answer had the status 500$"):
        start(played(500), "eager", "empty", time.perf_counter)


@pytest.mark.slow
def test_the_real_service_is_started_from_a_store_of_its_own(tmp_path: Path) -> None:
    """The eager engine keeps nothing in the cache, so it starts once."""
    random_model(TINY, tmp_path / "store")
    settings = Settings(
        model_store=tmp_path / "store", cache_dir=tmp_path, device="cpu", threads=1, tiered=False
    )

    found, absent = bench_start_up(settings, ("eager",), lambda _: None, time.perf_counter)

    assert absent == []
    assert [(start_up.engine, start_up.cache) for start_up in found] == [("eager", "empty")]
