"""`python -m tests.bench.traces`: what spans cost a request, in processor time of the service.

Services on the stub engine stand beside each other and are asked by turns: one that makes no spans,
one that samples one request in a hundred, one that samples all; with `--before` also one of another
checkout. Spans go to a collector that throws them away, on a thread of this process.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.server
import re
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import httpx

from service.api.v2.messages import HEADER_LENGTH
from tests.bench.pictures import jpeg, scenery
from tests.bench.service import JPEG, TENSOR, Post

CLIENTS = 16
NS_PER_S = 1_000_000_000
ROOT = Path(__file__).parents[2]
UNTRACED, HUNDREDTH, ALL, BEFORE = "no spans", "1 % sampled", "all sampled", "before"


class Sink(http.server.BaseHTTPRequestHandler):
    """Takes spans and throws them away."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Take what is sent."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its base's name
        """Say nothing."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A service that is asked."""

    name: str
    address: str
    process_id: int

    def seconds(self) -> float:
        """Processor time of its threads so far; not of the processes that decode for it."""
        threads = Path(f"/proc/{self.process_id}/task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads) / NS_PER_S


@contextlib.contextmanager
def candidate(name: str, folder: Path, store: Path, *variables: str) -> Iterator[Candidate]:
    """Start a service of a checkout, and end it with the block."""
    command = ["env", *variables, sys.executable, "-m", "service", "serve", "--port", "0"]
    flags = ["--engine", "stub", "--device", "cpu", "--model-store", str(store)]
    with subprocess.Popen(
        [*command, *flags], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            said = ""
            for line in process.stdout or ():
                said += line
                if "curl" in line:
                    break
            found = re.search(r"starts at (\S+)", said)
            if found is None:
                raise SystemExit(f"{name} said only: {said}")
            yield Candidate(name, found[1], process.pid)
        finally:
            process.terminate()


@contextlib.contextmanager
def collecting() -> Iterator[str]:
    """A collector; yields the variable that leads to it."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:{server.server_port}"
        server.shutdown()


async def post_many(asked: Candidate, post: Post, requests: int) -> None:
    """Have so many requests answered, of clients that never rest."""
    left = iter(range(requests))

    async def client(session: aiohttp.ClientSession) -> None:
        for _ in left:
            url = f"{asked.address}{post.path}"
            async with session.post(url, data=post.body, headers=post.headers) as reply:
                await reply.read()
                reply.raise_for_status()

    connector = aiohttp.TCPConnector(limit=CLIENTS)
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(client(session) for _ in range(CLIENTS)))


def measure(asked: Candidate, post: Post, requests: int) -> float:
    """Processor time of one request in microseconds."""
    before = asked.seconds()
    asyncio.run(post_many(asked, post, requests))
    return (asked.seconds() - before) / requests * 1e6


def row_of(load: str, name: str, spent_us: Sequence[float], base_us: Sequence[float]) -> str:
    """A row of the table: the median, and the ratios to the first service round by round.

    Of these the median and, since a busy machine strays far, the middle half.
    """
    ratios = [mine / base for mine, base in zip(spent_us, base_us, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    spread = f"{middle:.3f} ({low:.3f} to {high:.3f})"
    return f"| {load} | {name} | {statistics.median(spent_us):.0f} | {spread} |"


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, help="another checkout, to compare with")
    parser.add_argument("--store", type=Path, default=ROOT / "model_store", help="with one model")
    parser.add_argument("--rounds", type=int, default=41)
    parser.add_argument("--requests", type=int, default=200, help="in each round of each service")
    chosen = parser.parse_args()
    sampler = "OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.01"
    with contextlib.ExitStack() as stack:
        endpoint = stack.enter_context(collecting())
        wanted: list[tuple[str, Path, tuple[str, ...]]] = [
            (UNTRACED, ROOT, ()),
            (HUNDREDTH, ROOT, (endpoint, *sampler)),
            (ALL, ROOT, (endpoint,)),
        ]
        if chosen.before:
            wanted.insert(0, (BEFORE, chosen.before, ()))
        services = [
            stack.enter_context(candidate(name, folder, chosen.store.absolute(), *variables))
            for name, folder, variables in wanted
        ]
        for load, post in posts_for(services[0]).items():
            spent: dict[str, list[float]] = {each.name: [] for each in services}
            for number in range(chosen.rounds + 1):  # the first one warms up
                for each in services:
                    taken_us = measure(each, post, chosen.requests)
                    spent[each.name] += [taken_us] if number else []
            for each in services:
                row = row_of(load, each.name, spent[each.name], spent[services[0].name])
                sys.stdout.write(f"{row}\n")


def posts_for(service: Candidate) -> dict[str, Post]:
    """A tensor, of which nothing is decoded, and a picture, which other processes decode."""
    name = httpx.get(f"{service.address}/v1/models").json()["models"][0]["name"]
    side_px = httpx.get(f"{service.address}/v1/models/{name}").json()["input"]["size_px"]
    pixels = scenery(side_px, side_px).transpose(2, 0, 1).tobytes()
    return {
        TENSOR: Post(f"/v2/models/{name}/infer", {HEADER_LENGTH: "0"}, pixels),
        JPEG: Post("/v1/predict", {"Content-Type": "image/jpeg"}, jpeg(500, 375)),
    }


if __name__ == "__main__":
    main()
