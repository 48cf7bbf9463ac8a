"""Connections, byte by byte: whatever a client does with one is bounded, and answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.access import SECURITY
from service.app import create_app
from tests.connecting import Listening, listening, new_runtime
from tests.running import until

pytestmark = pytest.mark.anyio

MB = 1_000_000
ANSWER = bytes(5 * MB)
GET = b"GET /%s HTTP/1.1\r\nHost: service\r\n\r\n"
OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Both event loops: one is the product's, the other where that is not to be had."""
    return "asyncio", {"use_uvloop": request.param}


class Application:
    """Answers with the body that it was sent, `/large` with 5 MB; `/wait` waits for the client.

    Attributes:
        seen: the path, the names of the headers and the body of each request, as they came.
        left: paths of the requests whose client has left.
    """

    def __init__(self) -> None:
        self.seen: list[tuple[str, frozenset[str], bytes]] = []
        self.left: list[str] = []
        self.began = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan":
            return
        body, more = b"", not scope["path"].startswith("/early")
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.left.append(scope["path"])
                return
            body += message["body"]
            more = message["more_body"]
        names = frozenset(name.decode() for name, _ in scope["headers"])
        self.seen.append((scope["path"], names, body))
        self.began.set()
        if scope["path"] == "/wait":
            await receive()
            self.left.append(scope["path"])
            return
        await self.may_answer.wait()
        answer = ANSWER if scope["path"] == "/large" else body
        headers = [(b"content-length", str(len(answer)).encode())]
        if scope["path"] == "/early-close":
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


@asynccontextmanager
async def serving(app: ASGIApp | None = None, **settings: object) -> AsyncIterator[Listening]:
    """Serve an application of the test's own."""
    async with listening(app or Application(), new_runtime(None, **settings)) as service:
        yield service


async def true(claim: Callable[[], bool]) -> None:
    """Wait until something is true; the test's time-out bounds it."""

    async def is_true() -> bool:
        return claim()

    await until(is_true)


def code_of(answer: bytes) -> str:
    """The code of an error."""
    code: str = json.loads(answer)["error"]["code"]
    return code


async def test_a_head_of_16_mb_is_refused_and_the_refusal_can_be_read() -> None:
    """Its sender is not cut off while it sends, and nobody else waits for it."""
    async with serving() as service:
        client = await service.connect()
        await client.send(b"GET / HTTP/1.1\r\nX: " + b"x" * 16 * MB + b"\r\n\r\n")
        refused = await client.answer()
        rest = await client.rest()

    assert (refused.status_code, code_of(refused.content)) == (431, "head_too_large")
    assert (refused.headers["connection"], rest) == ("close", b"")
    assert SECURITY.items() <= dict(refused.headers.raw).items()
    assert service.closed("head_too_large") == 1


@pytest.mark.parametrize("path", ["/v2", "/v2/models/tiny/infer?a=b", "/below/v2/models"])
async def test_what_is_no_request_of_v2_is_refused_in_its_form(path: str) -> None:
    """As far as the head tells; under a root path, too."""
    async with serving(head_limit_kb=1, root_path="/below") as service:
        client = await service.connect()
        await client.send(f"POST {path} HTTP/1.1\r\nX: {'x' * 2000}\r\n\r\n".encode())
        refused = await client.answer()

    assert refused.status_code == 431
    assert refused.json() == {"error": "the head has more than 1000 bytes, which is the limit"}


@pytest.mark.parametrize("line", [b"X: y\r\n", b"\r\n", b"X: " + b"y" * 90 + b"\r\n"])
async def test_every_byte_of_a_head_counts(line: bytes) -> None:
    """Of many small headers, and of empty lines before it, too."""
    async with serving(head_limit_kb=1) as service:
        client = await service.connect()
        await client.send(b"GET / HTTP/1.1\r\n" * (line != b"\r\n") + line * 1000 + b"\r\n")
        refused = await client.answer()

    assert refused.status_code == 431


async def test_a_head_up_to_the_limit_is_taken() -> None:
    """Also in two halves, and after another request on the same connection."""
    head = b"GET / HTTP/1.1\r\nX: " + b"x" * 900 + b"\r\n"
    async with serving(head_limit_kb=1) as service:
        client = await service.connect()
        statuses = []
        for _ in range(3):
            await client.send(head)
            await client.send(b"\r\n")
            statuses.append((await client.answer()).status_code)

    assert statuses == [200, 200, 200]


async def test_500_idle_and_half_sent_heads_are_closed() -> None:
    """Half of a head gets 408, nothing gets nothing, and others are served meanwhile."""
    async with serving(head_timeout_s=0.5) as service:
        idle = [await service.connect() for _ in range(250)]
        half = []
        for _ in range(250):
            half.append(await service.connect())
            await half[-1].send(b"GET / HTTP/1.1\r\nHost: ser")
        other = await service.connect()
        await other.send(GET % b"")
        served = await other.answer()
        said = await asyncio.gather(*(client.rest() for client in idle))
        refused = await asyncio.gather(*(client.answer() for client in half))

    assert (served.status_code, set(said)) == (200, {b""})
    assert {(reply.status_code, code_of(reply.content)) for reply in refused} == {
        (408, "slow_head")
    }
    assert (service.closed("idle"), service.closed("slow_head")) == (250, 250)


async def test_a_later_head_has_the_same_time_as_the_first() -> None:
    """Half a head on a connection that was served is no way to hold it."""
    async with serving(head_timeout_s=0.1) as service:
        client = await service.connect()
        await client.send(GET % b"" + b"GET / HT")
        first = await client.answer()
        second = await client.answer()

    assert (first.status_code, second.status_code) == (200, 408)


@pytest.mark.parametrize("meanwhile", [b"", b"\r\n"])
async def test_a_connection_without_requests_is_closed_after_a_while(meanwhile: bytes) -> None:
    """Empty lines between requests are no requests."""
    async with serving(keep_alive_s=0.1) as service:
        client = await service.connect()
        await client.send(GET % b"")
        await client.answer()
        await client.send(meanwhile)
        rest = await client.rest()

    assert (rest, service.closed("idle")) == (b"", 1)


async def test_a_long_request_outlives_every_timeout_of_silence() -> None:
    """While an answer is being computed its client is not slow."""
    app = Application()
    app.may_answer.clear()
    async with serving(app, keep_alive_s=0.05, head_timeout_s=0.05) as service:
        first = await service.connect()
        await first.send(GET % b"")
        await app.began.wait()
        second = await service.connect()
        await second.rest()  # its time is over, and so would be that of the first
        app.may_answer.set()
        answer = await first.answer()

    assert answer.status_code == 200


async def test_what_is_no_http_gets_an_error_in_the_services_own_form() -> None:
    """With a code, a message and an id, and the connection is closed."""
    async with serving() as service:
        client = await service.connect()
        await client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
        refused = await client.answer()

    error = refused.json()["error"]
    assert refused.status_code == 400
    assert error == {
        "code": "malformed_request",
        "message": "this is no request of HTTP/1.1",
        "request_id": refused.headers["x-request-id"],
    }
    assert refused.headers["x-error-code"] == "malformed_request"


@pytest.mark.parametrize(
    "head", [b"CONNECT a:1 HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
)
async def test_other_protocols_are_refused(head: bytes) -> None:
    """A tunnel, and HTTP/2 without an offer."""
    async with serving() as service:
        client = await service.connect()
        await client.send(head)
        refused = await client.answer()

    assert refused.status_code == 400


# -- the end of a body


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 5\r\n\r\nhello",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    ],
    ids=["length", "chunks"],
)
@pytest.mark.parametrize("offer", [OFFER, b"Connection: Upgrade\r\nUpgrade: websocket\r\n"])
@pytest.mark.parametrize("pieces", [1, 40])
async def test_an_offer_of_another_protocol_is_passed_over(
    offer: bytes, body: bytes, pieces: int
) -> None:
    """`curl --http2` and Java's client make one: they are answered over HTTP/1.1, body and all."""
    app = Application()
    request = b"POST /a HTTP/1.1\r\nHost: service\r\n" + offer + body + GET % b"b"
    step = -(-len(request) // pieces)
    async with serving(app) as service:
        client = await service.connect()
        for start in range(0, len(request), step):
            await client.send(request[start : start + step])
        answers = [await client.answer(), await client.answer()]

    assert [(reply.status_code, reply.content) for reply in answers] == [
        (200, b"hello"),
        (200, b""),
    ]
    assert [(path, content) for path, _, content in app.seen] == [("/a", b"hello"), ("/b", b"")]
    assert "upgrade" not in app.seen[0][1]


async def test_a_client_that_has_closed_its_side_is_answered() -> None:
    """It sends its request, says that it sends no more, and reads."""
    app = Application()
    app.may_answer.clear()
    async with serving(app) as service:
        client = await service.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: service\r\nContent-Length: 5\r\n\r\nhello")
        client.writer.write_eof()
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        app.may_answer.set()
        answer = await client.answer()
        rest = await client.rest()

    assert (answer.status_code, answer.content, rest) == (200, b"hello", b"")
    assert answer.headers["connection"] == "close"


async def test_a_client_that_has_closed_its_side_gets_all_of_its_answers() -> None:
    """Of requests that it sent one after the other without waiting."""
    async with serving() as service:
        client = await service.connect()
        await client.send((GET % b"a") * 3)
        client.writer.write_eof()
        answers = [await client.answer() for _ in range(3)]
        rest = await client.rest()

    assert ([answer.status_code for answer in answers], rest) == ([200, 200, 200], b"")


async def test_a_client_that_has_left_is_noticed() -> None:
    """Though it says nothing else than one that has closed its side only."""
    app = Application()
    async with serving(app) as service:
        client = await service.connect()
        await client.send(GET % b"wait")
        await app.began.wait()
        client.close()
        await true(lambda: app.left == ["/wait"])
        await true(lambda: service.gauge("sge_connections") == 0)


async def test_a_request_that_ends_in_its_middle_is_dropped() -> None:
    """A client that has left before its body was complete is owed nothing."""
    app = Application()
    async with serving(app) as service:
        client = await service.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: service\r\nContent-Length: 5\r\n\r\nhe")
        client.writer.write_eof()
        rest = await client.rest()

    assert (rest, app.left, app.seen) == (b"", ["/"], [])


async def test_a_trailer_is_no_header() -> None:
    """What follows a body was not there when the request was looked at."""
    app = Application()
    chunks = b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n0\r\nX-Late: yes\r\n\r\n"
    async with serving(app) as service:
        client = await service.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: service\r\n" + chunks)
        answer = await client.answer()

    assert (answer.status_code, app.seen) == (
        200,
        [("/", frozenset({"host", "transfer-encoding"}), b"he")],
    )


@pytest.mark.parametrize(
    "hollow",
    [b"0\r\n" + b"X: y\r\n" * 60_000, b"0\r\nX: " + b"y" * 400_000, b"1\r\nx\r\n" * 60_000],
    ids=["trailers", "one trailer", "chunks of one byte"],
)
async def test_a_body_is_more_than_what_is_around_it(hollow: bytes) -> None:
    """Trailers and the marks of chunks are bytes that no limit of bodies counts."""
    app = Application()
    head = b"POST / HTTP/1.1\r\nHost: service\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with serving(app, head_limit_kb=1) as service:
        client = await service.connect()
        await client.send(head)
        await client.send(hollow)
        refused = await client.answer()

    assert (refused.status_code, code_of(refused.content)) == (400, "malformed_request")
    assert app.left == ["/"]


@pytest.mark.parametrize("path", [b"early", b"early-close"])
async def test_an_answer_before_the_end_of_a_body_can_be_read(path: bytes) -> None:
    """A client that first sends all of its body is not cut off by a reset."""
    async with serving() as service:
        client = await service.connect()
        await client.send(b"POST /%s HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (path, 20 * MB))
        await client.send(bytes(20 * MB))
        answer = await client.answer()

    assert answer.status_code == 200


@pytest.mark.parametrize(("path", "dropped"), [(b"early", 1), (b"early-close", 0)])
async def test_a_body_that_nobody_wants_any_more_has_its_time(path: bytes, dropped: int) -> None:
    """Who has its answer and goes on sending, or does not close, is closed."""
    async with serving(head_timeout_s=0.1) as service:
        client = await service.connect()
        await client.send(b"POST /%s HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf" % path)
        answer = await client.answer()
        await true(lambda: service.gauge("sge_connections") == 0)

    assert (answer.status_code, service.closed("unfinished_body")) == (200, dropped)


async def test_requests_that_wait_for_others_are_bounded() -> None:
    """Those that a client sends without waiting are answered up to a number, then it is closed."""
    async with serving() as service:
        client = await service.connect()
        await client.send((GET % b"") * 1000)
        rest = await client.rest()

    assert (rest.count(b"200 OK"), service.closed("pipelined")) == (17, 1)


# -- many connections


async def test_probes_are_answered_while_clients_hold_every_connection() -> None:
    """Other requests get 503, and a connection too many takes the place of the oldest."""
    runtime = new_runtime(max_connections=3, probe_connections=2)
    async with listening(create_app(runtime), runtime) as service:
        holders = [await service.connect() for _ in range(5)]  # two of them in the probes' place
        answers = []
        for path in (b"healthz", b"metrics", b"v1/models"):
            client = await service.connect()
            await client.send(GET % path)
            answers.append(await client.answer())
        pushed_out = await holders[3].rest()
        holders[0].close()
        await true(lambda: service.gauge("sge_connections") < 4)
        later = await service.connect()
        await later.send(GET % b"v1/models")
        served = await later.answer()

    assert [answer.status_code for answer in answers] == [200, 200, 503]
    assert [answer.headers["connection"] for answer in answers] == ["close"] * 3
    assert code_of(answers[2].content) == "too_many_connections"
    assert answers[2].headers["retry-after"] == "1"
    assert (pushed_out, served.status_code) == (b"", 200)
    assert service.closed("too_many_connections") == 1


async def test_a_probe_that_is_being_answered_keeps_its_connection() -> None:
    """The oldest that is not gives way; where there is none, the newest."""
    app = Application()
    app.may_answer.clear()
    async with serving(app, max_connections=1, probe_connections=2) as service:
        holder = await service.connect()
        first = await service.connect()
        await first.send(GET % b"first")
        await app.began.wait()
        silent = await service.connect()
        app.began.clear()
        second = await service.connect()
        await second.send(GET % b"second")
        pushed_out = await silent.rest()
        await app.began.wait()
        too_late = await (await service.connect()).rest()
        app.may_answer.set()
        answers = [await first.answer(), await second.answer()]
        holder.close()

    assert (pushed_out, too_late) == (b"", b"")
    assert [answer.status_code for answer in answers] == [200, 200]
    assert service.closed("too_many_connections") == 2


# -- answers that are not read


async def test_answers_that_nobody_reads_are_bounded() -> None:
    """50 clients that read nothing of 5 MB: 20 MB are held, the others' connections are closed."""
    async with serving(unread_answers_mb=20) as service:
        for _ in range(50):
            await service.leave_unread(GET % b"large")
        await true(lambda: service.closed("unread_answers") >= 45)
        held = service.gauge("sge_unread_answer_bytes")
        reading = await service.connect()
        await reading.send(GET % b"large")
        answer = await reading.answer()

    assert (answer.status_code, answer.content) == (200, ANSWER)
    assert 0 < held <= 20 * MB


async def test_an_answer_that_nobody_reads_has_its_time() -> None:
    """Then its connection is closed, and nothing of it is held any more."""
    async with serving(answer_timeout_s=0.1) as service:
        await service.leave_unread(GET % b"large")
        await true(lambda: service.gauge("sge_unread_answer_bytes") > 0)
        await true(lambda: service.closed("slow_reader") == 1)
        await true(lambda: service.gauge("sge_connections") == 0)

    assert service.gauge("sge_unread_answer_bytes") == 0


async def test_who_does_not_read_one_answer_gets_no_other() -> None:
    """Else each connection could hold any number of answers that no limit counts."""
    app = Application()
    async with serving(app) as service:
        client = await service.leave_unread((GET % b"large") * 2)
        await true(lambda: service.gauge("sge_unread_answer_bytes") > 0)
        seen_before = len(app.seen)
        loop = asyncio.get_running_loop()
        received = 0
        while received < 2 * len(ANSWER):
            received += len(await loop.sock_recv(client, MB))

    assert (seen_before, len(app.seen)) == (1, 2)
