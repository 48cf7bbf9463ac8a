"""HTTPS, whose connections are bounded as all others are."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from tests.certificates import HAS_OPENSSL, new_certificate
from tests.connecting import Client, Listening, listening, new_runtime
from tests.running import until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not HAS_OPENSSL, reason="openssl is not installed"),
]

GET = b"GET / HTTP/1.1\r\nHost: service\r\n\r\n"
ANSWER = bytes(range(250)) * 20_000


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Both event loops: each has its own TLS."""
    return "asyncio", {"use_uvloop": request.param}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with 5 MB."""
    if scope["type"] == "http":
        headers = [(b"content-length", str(len(ANSWER)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": ANSWER})


async def connect(service: Listening, files: dict[str, str]) -> Client:
    """Open a connection, which reads next to nothing unless it is told to."""
    trusting = ssl.create_default_context(cafile=files["tls_cert_file"])
    opened = asyncio.open_connection("127.0.0.1", service.port, ssl=trusting, limit=1024)
    client = Client(*await opened)
    service.opened.append(client)
    return client


async def test_answers_over_tls_that_nobody_reads_are_bounded(tmp_path: Path) -> None:
    """What TLS has encrypted already is as unread as what it has not."""
    files = new_certificate(tmp_path)
    runtime = new_runtime(None, unread_answers_mb=5, **files)
    async with listening(app, runtime) as service:
        for _ in range(12):
            await (await connect(service, files)).send(GET)

        async def is_over() -> bool:
            return service.closed("unread_answers") >= 5

        await until(is_over)
        held = service.gauge("sge_unread_answer_bytes")
        reading = await connect(service, files)
        await reading.send(GET)
        answer = await reading.answer()

    assert 0 < held <= 5_000_000
    assert answer.content == ANSWER


async def test_a_handshake_has_the_time_of_a_head(tmp_path: Path) -> None:
    """Who connects and says nothing is closed, before there is a connection of HTTP."""
    runtime = new_runtime(None, head_timeout_s=0.1, **new_certificate(tmp_path))
    async with listening(app, runtime) as service:
        client = await service.connect()
        rest = await client.rest()

    assert rest == b""
