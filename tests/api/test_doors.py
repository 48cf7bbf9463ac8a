"""What stands around the application: the path, hosts and origins of requests, and HEAD."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from service.api import operations, reference, v1
from service.api.access import SECURITY
from service.api.v2 import routes as v2
from service.api.v2 import statistics
from tests.connecting import listening, new_runtime
from tests.fakes import FakeEngine
from tests.running import PNG, grey, running

pytestmark = pytest.mark.anyio

ORIGIN = {"Origin": "https://pictures.example"}


def paths_of_get() -> set[str]:
    """The path of each route that can be got, for the model that there is."""
    routers = (
        *(v1.router, reference.router, v2.router, statistics.router),
        *(operations.router, operations.metrics_router, operations.page_router),
    )
    paths = {
        route.path.format(name="tiny", version="1")
        for router in routers
        for route in router.routes
        if isinstance(route, Route) and "GET" in (route.methods or ())
    }
    return paths | {"/openapi.json", "/static/app.js"}


@pytest.mark.parametrize("path", sorted(paths_of_get()))
async def test_head_is_get_without_the_body(path: str) -> None:
    """Its status and its headers, on every path that can be got."""
    async with running(engine=FakeEngine()) as service:
        got = await service.client.get(path)
        head = await service.client.head(path)

    changing = {"x-request-id", "content-length" if path == "/metrics" else ""}
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.status_code == 200
    assert {name: value for name, value in head.headers.items() if name not in changing} == {
        name: value for name, value in got.headers.items() if name not in changing
    }


async def test_head_of_what_cannot_be_got_is_refused() -> None:
    """As GET is."""
    async with running(engine=FakeEngine()) as service:
        reply = await service.client.head("/v1/predict")

    assert (reply.status_code, reply.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("path", ["/", "/docs", "/redoc", "/static/app.js", "/v1/models", "/none"])
async def test_every_answer_says_what_a_browser_may_do_with_it(path: str) -> None:
    """Load parts from here alone, guess no type, and show it within no other page."""
    async with running(engine=FakeEngine()) as service:
        headers = (await service.client.get(path)).headers

    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'self';")
    assert "frame-ancestors 'none'" in policy
    assert "script-src" not in policy
    assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")


async def test_scripts_of_other_origins_are_shut_out() -> None:
    """Unless the operator names their origin; no other is let in then."""
    preflight = ORIGIN | {"Access-Control-Request-Method": "POST"}
    async with running(engine=FakeEngine()) as service:
        closed = await service.client.get("/v1/models", headers=ORIGIN)
        refused = await service.client.options("/v1/predict", headers=preflight)
    async with running(engine=FakeEngine(), cors_origins=ORIGIN["Origin"]) as service:
        allowed = await service.client.options("/v1/predict", headers=preflight)
        answered = await service.client.post("/v1/predict", content=b"?", headers=ORIGIN | PNG)
        other = await service.client.get("/v1/models", headers={"Origin": "https://other.example"})

    assert "access-control-allow-origin" not in closed.headers
    assert refused.status_code == 405
    assert (allowed.status_code, answered.status_code) == (200, 400)
    assert SECURITY.items() <= dict(allowed.headers.raw).items()
    assert allowed.headers["access-control-allow-origin"] == ORIGIN["Origin"]
    assert answered.headers["access-control-allow-origin"] == ORIGIN["Origin"]
    assert "X-Request-Id" in answered.headers["access-control-expose-headers"]
    assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize(
    ("host", "path", "status"),
    [
        ("pictures.example:8000", "/v1/models", 200),
        ("PICTURES.example", "/v1/models", 200),
        ("a.below.example", "/v1/models", 200),
        ("b.a.below.example", "/v1/models", 200),
        ("not-below.example", "/v1/models", 400),
        ("[::1]:8000", "/v1/models", 200),
        ("below.example", "/v1/models", 400),
        ("attacker.example", "/v1/models", 400),
        ("10.0.0.7:8000", "/metrics", 400),
        ("10.0.0.7:8000", "/readyz", 200),
    ],
)
async def test_only_the_hosts_named_are_answered(host: str, path: str, status: int) -> None:
    """A cluster's probes are by address, and are answered all the same."""
    names = "pictures.example, *.below.example, ::1"
    async with running(engine=FakeEngine(), allowed_hosts=names) as service:
        reply = await service.client.get(path, headers={"Host": host})

    assert reply.status_code == status


async def test_a_host_that_is_not_named_is_an_error_like_any_other() -> None:
    """With its code, in the form of the protocol."""
    async with running(engine=FakeEngine(), allowed_hosts="pictures.example") as service:
        v1_reply = await service.client.get("/v1/models", headers={"Host": "a.example"})
        v2_reply = await service.client.get("/v2", headers={"Host": "a.example"})

    message = "the service does not answer to the host name 'a.example'"
    assert v1_reply.json()["error"]["code"] == "unknown_host"
    assert v2_reply.json() == {"error": message}


@pytest.mark.parametrize("prefix", ["", "/sge"], ids=["taken away", "left"])
async def test_the_service_works_under_a_path(prefix: str) -> None:
    """Whether a proxy takes the path away or not: routes, files, pages, counts, and V2's errors."""
    async with running(engine=FakeEngine(), root_path="/sge") as service:
        page = await service.client.get(f"{prefix}/")
        part = await service.client.get(f"{prefix}/static/app.js")
        document = (await service.client.get(f"{prefix}/openapi.json")).json()
        reply = await service.client.post(f"{prefix}/v1/predict", content=grey(1), headers=PNG)
        wrong = await service.client.get(f"{prefix}/v2/models/none")
        received = await service.metric("sge_requests_received_total")

    assert '<base href="/sge/">' in page.text
    assert (part.status_code, reply.status_code, wrong.status_code) == (200, 200, 404)
    assert document["servers"] == [{"url": "/sge"}]
    assert set(wrong.json()) == {"error"}
    assert isinstance(wrong.json()["error"], str)
    assert received == 1


@pytest.mark.parametrize(
    ("trusted", "seen"),
    [("", ("127.0.0.1", "http")), ("10.0.0.1, 127.0.0.0/8", ("192.0.2.7", "https"))],
)
async def test_only_named_proxies_say_who_a_client_is(trusted: str, seen: tuple[str, str]) -> None:
    """Anybody can send the headers that say it."""
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scopes.append(scope)
            await PlainTextResponse("here")(scope, receive, send)

    headers = {"X-Forwarded-For": "198.51.100.1, 192.0.2.7", "X-Forwarded-Proto": "https"}
    async with (
        listening(app, new_runtime(trusted_proxies=trusted)) as service,
        httpx.AsyncClient() as client,
    ):
        await client.get(service.address, headers=headers)

    (scope,) = scopes
    assert (scope["client"][0], scope["scheme"]) == seen


async def test_the_reference_of_the_api_needs_nothing_from_elsewhere() -> None:
    """Its pages load what they need from the service."""
    async with running(engine=FakeEngine()) as service:
        pages = [await service.client.get(path) for path in ("/docs", "/redoc")]

    assert [page.status_code for page in pages] == [200, 200]
    assert {"http:" in page.text or "https:" in page.text for page in pages} == {False}


@pytest.mark.skipif(not reference.find_assets(), reason="fastapi-offline is not installed")
def test_the_files_of_the_reference_are_installed() -> None:
    """Those that its pages name are in the package that brings them."""
    (folder,) = reference.find_assets().values()

    names = {"swagger-ui-bundle.js", "swagger-ui.css", "redoc.standalone.js"}
    assert names <= {file.name for file in Path(folder).iterdir()}


CLOSED = {
    "docs": {"/docs", "/redoc", "/openapi.json", "/docs/assets/swagger-ui.css"},
    "metrics": {"/metrics"},
    "page": {"/"},
    "statistics": {
        *("/v2/models/stats", "/v2/models/tiny/stats", "/v2/models/tiny/versions/1/stats"),
    },
}


@pytest.mark.parametrize("closed", [*CLOSED, "docs, page", "docs,metrics,page,statistics"])
async def test_what_is_closed_is_not_there(closed: str) -> None:
    """Its paths answer as those that there are not; all others answer as before."""
    shut = {path for name, paths in CLOSED.items() if name in closed for path in paths}
    shut |= (
        {"/static/app.js"} if {"docs", "page"} <= {*closed.replace(" ", "").split(",")} else set()
    )
    async with running(engine=FakeEngine(), closed=closed) as service:
        statuses = {path: (await service.client.get(path)).status_code for path in paths_of_get()}
        extensions = (await service.client.get("/v2")).json()["extensions"]
        prediction = await service.predict(grey(1))

    assert {path for path, status in statuses.items() if status == 404} == shut & set(statuses)
    assert set(statuses.values()) <= {200, 404}
    assert ("statistics" in extensions) == ("statistics" not in closed)
    assert prediction.status_code == 200


async def test_what_is_closed_is_not_documented() -> None:
    """Nobody is told of a path that answers with 404."""
    async with running(engine=FakeEngine(), closed="metrics,statistics") as service:
        paths = (await service.client.get("/openapi.json")).json()["paths"]

    assert not [path for path in paths if path.endswith(("/metrics", "/stats"))]
    assert "/v1/predict" in paths
