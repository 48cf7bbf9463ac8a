"""What one request costs a whole service, its decoding processes included: memory and time."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.config import Settings
from tests.api.test_loop_time import BODY, V2, WORST, tensor
from tests.hostile_images import ANSWERED
from tests.processes import PATIENCE_S, ready
from tests.running import grey

pytestmark = pytest.mark.slow

MOST_BYTES = 300_000_000  # above what the service took before
MOST_S = 1.0
MOST_DECODED_BYTES = 600_000_000  # pictures that are decoded have a bound of their own
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "multipart/form-data; boundary=x"}
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def form_of(*files: bytes) -> bytes:
    """A form of these files."""
    head = b'--x\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n'
    return b"".join(head + file + b"\r\n" for file in files) + b"--x--\r\n"


def hostile_form() -> bytes:
    """As many hostile images as a request may hold, in as many bytes."""
    images = [make() for make in ANSWERED.values()]
    small = sorted(images, key=len)[:16]
    return form_of(*small, *small)


ZEROS = WORST["numbers in place of images"]
REQUESTS = {
    "JSON of zeros": (*ZEROS, JSON),
    "nested lists": (V2, tensor(b"[" + b"[0]," * 98_000 + b"[0]]"), JSON),
    "base64 of no image": (*WORST["base64 of no image"], JSON),
    "a gzip bomb": (
        ZEROS[0],
        gzip.compress(bytes(BODY)),
        {"Content-Type": "image/png", "Content-Encoding": "gzip"},
    ),
    "32 images with every mask": ("/v1/predict?masks=all", form_of(*[grey(1)] * 32), FORM),
}


def family_of(process_id: int) -> Iterator[int]:
    """A process and those that it started."""
    yield process_id
    for task in Path(f"/proc/{process_id}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from family_of(int(child))


def memory_of(process_id: int, name: str) -> int:
    """A line of a process's status, in bytes."""
    status = Path(f"/proc/{process_id}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


def seconds_of(process_id: int) -> float:
    """Processor time of a process and of those of its children that have ended."""
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS_PER_S


def cost_of(store: Path, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, float]:
    """The bytes and the seconds that a request takes of a service and its processes."""
    with ready(store, "--log-level", "error", engine="stub") as service:
        with httpx.Client(base_url=service.address, timeout=PATIENCE_S) as client:
            client.post("/v1/predict", content=grey(1))
            family = list(family_of(service.process.pid))
            for each in family:
                Path(f"/proc/{each}/clear_refs").write_text("5")
            before_bytes = sum(memory_of(each, "VmRSS") for each in family)
            before_s = sum(map(seconds_of, family))
            assert client.post(path, content=body, headers=headers).status_code < 500
        spent_bytes = sum(memory_of(each, "VmHWM") for each in family) - before_bytes
        return spent_bytes, sum(map(seconds_of, family)) - before_s


@pytest.mark.parametrize(("path", "body", "headers"), REQUESTS.values(), ids=REQUESTS.keys())
def test_no_request_costs_much(
    store: Path, path: str, body: bytes, headers: dict[str, str]
) -> None:
    """Under 300 MB and a second of processor time, whatever is in it."""
    spent_bytes, spent_s = cost_of(store, path, body, headers)

    assert spent_bytes < MOST_BYTES
    assert spent_s < MOST_S


def test_hostile_images_cost_what_decoding_may(store: Path) -> None:
    """As many as a request may hold: each has its own bound, and their memory one over all."""
    spent_bytes, spent_s = cost_of(store, "/v1/predict", hostile_form(), FORM)

    assert spent_bytes < MOST_DECODED_BYTES
    assert spent_s < 32 * Settings().decode_cpu_s
