"""HTTPS, whose connections are bounded as all others are."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from contextlib import suppress
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from starlette.types import Receive, Scope, Send

from service.api.tls import Certificate, find_certificate
from service.app import create_app
from service.config import Settings
from service.metrics import Metrics
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

        async def is_settled() -> bool:
            return service.closed("unread_answers") >= 10  # of the 12: there is room for the others

        await until(is_over)
        held = service.gauge("sge_unread_answer_bytes")
        await until(is_settled)
        reading = await connect(service, files)
        await reading.send(GET)
        answer = await reading.answer()

    assert 0 < held <= 5_000_000
    assert answer.content == ANSWER


async def test_a_handshake_has_the_time_of_a_head(tmp_path: Path) -> None:
    """Who connects and says nothing is closed, and counted, before there is any HTTP."""
    runtime = new_runtime(None, head_timeout_s=0.1, **new_certificate(tmp_path))
    async with listening(app, runtime) as service:
        client = await service.connect()
        rest = await client.rest()

    assert (rest, service.closed("slow_handshake")) == (b"", 1)


async def test_handshakes_are_connections_and_a_probe_is_answered_beside_them(
    tmp_path: Path,
) -> None:
    """More of them than there may be connections: the oldest in a probe's place goes."""
    files = new_certificate(tmp_path)
    runtime = new_runtime(None, max_connections=3, probe_connections=2, **files)
    async with listening(create_app(runtime), runtime) as service:
        silent = [await service.connect() for _ in range(20)]

        async def are_counted() -> bool:
            return service.closed("too_many_connections") == 15

        await until(are_counted)
        held = service.gauge("sge_connections")
        gone = [await client.rest() for client in silent[3:18]]
        probe = await connect(service, files)
        await probe.send(b"GET /healthz HTTP/1.1\r\nHost: service\r\n\r\n")
        answer = await probe.answer()

    assert (held, gone) == (5, [b""] * 15)
    assert (answer.status_code, service.closed("too_many_connections")) == (200, 16)
    assert service.gauge("sge_connections") == 0


async def test_a_handshake_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    """Of a client that speaks no TLS, and of one that hangs up."""
    async with listening(app, new_runtime(None, **new_certificate(tmp_path))) as service:
        plain, leaving = await service.connect(), await service.connect()
        await plain.send(GET)
        said = await plain.rest()
        leaving.close()

        async def are_gone() -> bool:
            return service.gauge("sge_connections") == 0

        await until(are_gone)

    assert b"HTTP" not in said


async def serial_of(service: Listening) -> str:
    """The certificate that a new connection is shown."""
    anybody = ssl.create_default_context()
    anybody.check_hostname = False
    anybody.verify_mode = ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", service.port, ssl=anybody)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return hashlib.sha256(shown).hexdigest()


async def test_a_renewed_certificate_is_shown_without_a_restart(tmp_path: Path) -> None:
    """To new connections, within about a second; those that are open stay."""
    files = new_certificate(tmp_path)
    async with listening(app, new_runtime(None, **files)) as service:
        client = await connect(service, files)
        before = await serial_of(service)
        new_certificate(tmp_path)

        async def is_renewed() -> bool:
            return await serial_of(service) != before

        await until(is_renewed)
        await client.send(GET)
        answer = await client.answer()
        trusting = await connect(service, files)
        await trusting.send(GET)
        renewed = await trusting.answer()

    assert answer.content == renewed.content == ANSWER


def test_files_that_make_no_certificate_leave_the_old_one(tmp_path: Path) -> None:
    """A chain whose key is another's, say, while one of the two has been written."""
    now = [0.0]
    settings = Settings(**new_certificate(tmp_path))  # type: ignore[arg-type]
    (tmp_path / "new").mkdir()
    newer = new_certificate(tmp_path / "new")
    metrics = Metrics(CollectorRegistry())
    certificate = find_certificate(settings, metrics, lambda: now[0])
    assert certificate is not None
    shown = [shown_by(certificate)]
    for name in ("tls_cert_file", "tls_key_file"):
        Path(newer[name]).replace(str(getattr(settings, name)))
        now[0] += 1.0
        shown.append(shown_by(certificate))
    failed = metrics.registry.get_sample_value("sge_failed_reloads_total", {"file": "certificate"})

    assert shown[0] == shown[1] != shown[2]
    assert failed == 1


def shown_by(certificate: Certificate) -> bytes | None:
    """The certificate that a client is shown which asks for no name."""
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anybody.check_hostname = False
    anybody.verify_mode = ssl.CERT_NONE
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = anybody.wrap_bio(to_client, to_server)
    server = certificate.context.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client):
        with suppress(ssl.SSLWantReadError):
            side.do_handshake()
    return client.getpeercert(binary_form=True)
