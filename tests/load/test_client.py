"""The client against real sockets: what statuses mean, and Locust's users."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from tests.load.client import connect
from tests.load.machine import REAL_TIME, USUAL, describe_machine, real_time
from tests.load.mix import PREDICT, Kind, make_kinds
from tests.load.sender import Answer
from tests.load.users import run_users

PATIENCE_S = 30.0


class Echo:
    """A service that answers each post with the status its body names; `hang` waits."""

    def __init__(self) -> None:
        self.deadlines_ms: list[str | None] = []
        self.arrived_s = 0.0
        self.is_closing = asyncio.Event()

    async def predict(self, request: web.Request) -> web.Response:
        """Answer, hang, or break the connection."""
        self.arrived_s = asyncio.get_running_loop().time()
        body = await request.read()
        self.deadlines_ms.append(request.headers.get("X-Request-Deadline-Ms"))
        match body:
            case b"hang":
                await self.is_closing.wait()
            case b"break":
                assert request.transport is not None
                request.transport.abort()
        return web.Response(status=int(body) if body.isdigit() else 200)

    async def models(self, request: web.Request) -> web.Response:
        """Two models, the second the default."""
        return web.json_response(
            {"models": [{"name": "a", "default": False}, {"name": "b", "default": True}]}
        )

    async def model(self, request: web.Request) -> web.Response:
        """Its name."""
        return web.json_response({"name": request.match_info["name"]})


@asynccontextmanager
async def listening(service: Echo) -> AsyncIterator[str]:
    """Serve on a free port of loopback; gives the address."""
    app = web.Application()
    app.router.add_post(PREDICT, service.predict)
    for view in ("image", "explain"):  # of the default model
        app.router.add_post(f"/v2/models/b-{view}/infer", service.predict)
    app.router.add_get("/v1/models", service.models)
    app.router.add_get("/v1/models/{name}", service.model)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        service.is_closing.set()
        await runner.cleanup()


def kind_of(body: bytes, status: int = 200) -> Kind:
    """A request that is answered as its body says."""
    return Kind("one", 1, PREDICT, "image/png", body, status)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        (kind_of(b"200"), Answer.OK),
        (kind_of(b"400", status=400), Answer.OK),
        (kind_of(b"200", status=400), Answer.FAILED),
        (kind_of(b"429"), Answer.REFUSED),
        (kind_of(b"503"), Answer.REFUSED),
        (kind_of(b"504"), Answer.EXPIRED),
        (kind_of(b"500"), Answer.FAILED),
        (kind_of(b"break"), Answer.FAILED),
    ],
    ids=lambda value: value.body.decode() if isinstance(value, Kind) else str(value),
)
async def test_a_status_says_what_became_of_a_request(kind: Kind, answer: Answer) -> None:
    """The status a kind asks for is ok, even if it is a refusal of a broken file."""
    async with listening(Echo()) as url, connect(url, PATIENCE_S) as target:
        assert (await target.send(kind)).answer is answer


@pytest.mark.anyio
async def test_a_request_without_an_answer_is_given_up() -> None:
    """After the client's own time it counts as timed out."""
    async with listening(Echo()) as url, connect(url, 0.05) as target:
        assert (await target.send(kind_of(b"hang"))).answer is Answer.TIMED_OUT


@pytest.mark.anyio
async def test_a_request_counts_from_when_it_left() -> None:
    """What comes before that is the client's own time, but for opening a connection."""
    loop = asyncio.get_running_loop()
    service = Echo()
    async with listening(service) as url, connect(url, PATIENCE_S) as target:
        called_s = loop.time()
        sent = await target.send(kind_of(b"200"))

        arrived_s = service.arrived_s
        again = await target.send(kind_of(b"200"))

    assert called_s < sent.left_s < arrived_s
    assert 0 < sent.connecting_s < sent.left_s - called_s
    assert again.connecting_s == 0


@pytest.mark.anyio
async def test_a_request_that_never_left_counts_from_when_it_was_taken_up() -> None:
    """No server, no bytes: the moment is the client's own."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    called_s = loop.time()
    async with connect(f"http://127.0.0.1:{port}", PATIENCE_S) as target:
        sent = await target.send(kind_of(b"200"))

    assert sent.answer is Answer.FAILED
    assert called_s <= sent.left_s <= loop.time()


@pytest.mark.anyio
async def test_a_deadline_is_told_where_there_is_one() -> None:
    """In the service's own header, in milliseconds."""
    service = Echo()
    async with listening(service) as url, connect(url, PATIENCE_S) as target:
        await target.send(kind_of(b"200"), deadline_s=0.25)
        await target.send(kind_of(b"200"))

    assert service.deadlines_ms == ["250", None]


@pytest.mark.anyio
async def test_the_default_model_is_described() -> None:
    """It is the one that answers requests which name none."""
    async with listening(Echo()) as url, connect(url, PATIENCE_S) as target:
        assert await target.describe() == {"name": "b"}


def test_the_machine_is_described() -> None:
    """Processor and cores are what figures depend on most."""
    machine = describe_machine()

    assert machine["processor"]
    assert machine["cores"] == os.cpu_count()
    assert machine["scheduling"] == USUAL


def test_the_client_runs_in_real_time_where_the_system_lets_it() -> None:
    """And says truly whether it does; afterwards it is as others again."""
    usual = os.sched_getscheduler(0)
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        os.sched_setscheduler(0, usual, os.sched_param(0))
        may = True
    except PermissionError:
        may = False

    with real_time() as said:
        meanwhile = os.sched_getscheduler(0)

    assert (said, meanwhile) == ((REAL_TIME, os.SCHED_RR) if may else (USUAL, usual))
    assert os.sched_getscheduler(0) == usual


@pytest.mark.anyio
async def test_users_send_the_mix_and_count_wrong_answers() -> None:
    """Locust's users post pictures and broken files; a 200 for a broken file is a failure."""
    right = {kind.name for kind in make_kinds("tiny") if kind.status == 200}

    async with listening(Echo()) as url:
        crowd = await asyncio.to_thread(run_users, url, 2, 3)

    assert sum(seen.requests for seen in crowd.seen) > 0
    assert {seen.kind: seen.failures for seen in crowd.seen} == {
        seen.kind: 0 if seen.kind in right else seen.requests for seen in crowd.seen
    }
