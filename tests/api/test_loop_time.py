"""What a request costs the event loop: the worst ones known, each in turns of under 20 ms.

A turn's cost is processor time of the loop's thread, so that other programs do not count. Bodies
are as large as they may be.
"""

from __future__ import annotations

import asyncio
import gc
import gzip
import time
from collections.abc import AsyncIterator
from typing import Self

import httpx
import pytest

from tests.fakes import FakeEngine
from tests.running import PNG, Running, grey, running

pytestmark = pytest.mark.anyio

BODY = 31_900_000  # bytes; the limit is 32 MB
MOST_S = 0.02
JSON = {"Content-Type": "application/json"}
V2 = "/v2/models/tiny/infer"


def tensor(data: bytes, shape: str = "[1,3,32,32]") -> bytes:
    """A request of V2 with such data."""
    head = f'{{"inputs":[{{"name":"IMAGE","datatype":"UINT8","shape":{shape},"data":'
    return head.encode() + data + b"}]}"


WORST = {
    "numbers in place of images": (
        "/v1/predict",
        b'{"images":[' + b"0," * (BODY // 2) + b"0]}",
    ),
    "objects in place of images": ("/v1/predict", b'{"images":[' + b"{}," * (BODY // 3) + b"{}]}"),
    "keys nobody knows": ("/v1/predict", b"{" + b'"a":1,' * (BODY // 6) + b'"images":[]}'),
    "lists within lists": ("/v1/predict", b"[" * BODY),
    "a text that is no base64": ("/v1/predict", b'{"images":[{"b64":"' + b"\xc3\xa9" * (BODY // 2)),
    "base64 of no image": ("/v1/predict", b'{"images":[{"b64":"' + b"A" * (BODY - 64) + b'"}]}'),
    "nested tensors": (V2, tensor(b"[" + b"[0]," * (BODY // 4 - 50) + b"[0]]")),
    "a long flat tensor": (V2, tensor(b"[" + b"0," * (BODY // 2 - 100) + b"0]")),
    "texts in place of numbers": (V2, tensor(b"[" + b'"",' * (BODY // 3 - 100) + b'""]')),
    "spaces": (V2, b" " * (BODY - 2) + b"{}"),
}


class Turns:
    """The turns of a loop, which it keeps turning: the processor time of the longest.

    Collections of garbage are left out: a service sets what stays aside before it answers.
    """

    def __init__(self) -> None:
        self.longest_s = 0.0
        self._is_over = False

    def __enter__(self) -> Self:
        gc.disable()
        self._turn(time.thread_time())
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        gc.enable()

    def _turn(self, before_s: float) -> None:
        now_s = time.thread_time()
        self.longest_s = max(self.longest_s, now_s - before_s)
        if not self._is_over:
            asyncio.get_running_loop().call_soon(self._turn, now_s)


async def post(service: Running, path: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
    """Post a body as a server gives it to the application: in pieces, a turn each."""

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]
            await asyncio.sleep(0)

    return await service.client.post(path, content=pieces(), headers=headers)


@pytest.mark.parametrize(("path", "body"), WORST.values(), ids=WORST.keys())
async def test_the_worst_bodies_hold_the_loop_for_less_than_20_ms(path: str, body: bytes) -> None:
    """Refused as what they are, and everybody else is answered meanwhile."""
    async with running(engine=FakeEngine()) as service:
        with Turns() as turns:
            reply = await post(service, path, body, JSON)

    assert 400 <= reply.status_code < 500
    assert turns.longest_s < MOST_S


async def test_a_body_that_inflates_holds_the_loop_for_less_than_20_ms() -> None:
    """32 MB out of 31 kB."""
    body = gzip.compress(WORST["numbers in place of images"][1])
    async with running(engine=FakeEngine()) as service:
        with Turns() as turns:
            reply = await post(service, "/v1/predict", body, JSON | {"Content-Encoding": "gzip"})

    assert reply.status_code == 422
    assert turns.longest_s < MOST_S


async def test_answers_full_of_masks_hold_the_loop_for_less_than_20_ms() -> None:
    """32 images with every mask there is, as numbers."""
    files = [("file", (f"{n}.png", grey(n), "image/png")) for n in range(32)]
    async with running() as service:
        await service.predict(grey(1), "masks=all")
        with Turns() as turns:
            reply = await service.client.post("/v1/predict?masks=all", files=files)

    assert reply.status_code == 200
    assert len(reply.content) > 100_000
    assert turns.longest_s < MOST_S


async def test_the_first_request_holds_the_loop_no_longer_than_another() -> None:
    """What FastAPI makes of its routes is made before."""
    async with running(engine=FakeEngine()) as service:
        with Turns() as turns:
            pixels = await post(service, V2, tensor(b"[" + b"0," * 3071 + b"0]"), JSON)
            picture = await service.client.post("/v1/predict", content=grey(1), headers=PNG)

    assert (pixels.status_code, picture.status_code) == (200, 200)
    assert turns.longest_s < MOST_S
