"""API keys: who is let in, what the others are told, and how keys change while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry
from starlette.types import Message
from structlog.testing import capture_logs

from service.api.key_file import add_key
from service.api.keys import Keys
from service.errors import BadSetting
from service.metrics import Metrics
from tests.api.test_doors import paths_of_get
from tests.fakes import FakeEngine, GatedEngine
from tests.running import PNG, Running, grey, running, until

pytestmark = pytest.mark.anyio

OPEN = {
    *("/", "/docs", "/redoc", "/static/app.js"),
    *("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"),
}
WRONG = {"Authorization": "Bearer sge_wrong"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the keys are."""
    return tmp_path / "keys"


@pytest.fixture
def key(file: Path) -> str:
    """The key of the shop."""
    return add_key(file, "shop")


@pytest.fixture
def logged() -> Iterator[list[dict[str, object]]]:
    """The lines of the log."""
    with capture_logs() as lines:
        yield lines  # type: ignore[misc]


def bearer(key: str) -> dict[str, str]:
    """The header by which a key is sent."""
    return {"Authorization": f"Bearer {key}"}


def new_file(file: Path, name: str) -> str:
    """Put a file with another key in the place of the file, and return the key."""
    file.unlink()
    return add_key(file, name)


async def nothing_comes() -> Message:
    """A body that is empty."""
    return {"type": "http.request", "body": b"", "more_body": False}


async def admits(service: Running, key: str) -> bool:
    """Whether a key lets its owner in."""
    return (await service.client.get("/v1/models", headers=bearer(key))).status_code == 200


def sample(metrics: Metrics, key: str, outcome: str) -> float | None:
    """How many requests of a key had an outcome; None where that is not counted."""
    labels = {"key": key, "outcome": outcome}
    return metrics.registry.get_sample_value("sge_key_requests_total", labels)


@pytest.mark.parametrize("path", sorted({*paths_of_get(), "/nothing"}))
async def test_every_path_but_the_open_ones_needs_a_key(file: Path, key: str, path: str) -> None:
    """Also one that there is not: who has no key learns nothing of what there is."""
    async with running(engine=FakeEngine(), api_keys_file=file) as service:
        without = await service.client.get(path)
        wrong = await service.client.get(path, headers=WRONG)
        right = await service.client.get(path, headers=bearer(key))

    refused = 200 if path in OPEN else 401
    assert (without.status_code, wrong.status_code) == (refused, refused)
    assert right.status_code in {200, 404}


@pytest.mark.parametrize(
    "path",
    [
        *("/docs/../v1/predict", "/static/../v1/predict", "//v1/predict"),
        "/docs/assets/../../v1/predict",
    ],
)
@pytest.mark.usefixtures("key")
async def test_no_way_around_the_key_is_taken_for_a_file(file: Path, path: str) -> None:
    """A path is taken as it was sent: what begins like an open one leads to no other."""
    async with running(engine=FakeEngine(), api_keys_file=file) as service:
        reply = await service.converse(nothing_comes, path)

    assert reply.status_code in {401, 404, 405}
    assert b"predictions" not in reply.content


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": "Bearer {key}"}, 200),
        ({"Authorization": "bearer  {key} "}, 200),
        ({"X-API-Key": "{key}"}, 200),
        ({"Authorization": "Basic of-a-proxy", "X-API-Key": "{key}"}, 200),
        ({"Authorization": "{key}"}, 401),
        ({"Authorization": "Basic {key}"}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": "Bearer {key}x"}, 401),
        ({"X-API-Key": "{name}"}, 401),
        ({"X-API-Key": "schl\xfcssel"}, 401),
        ({}, 401),
    ],
)
async def test_a_key_comes_in_either_header(
    file: Path, key: str, headers: dict[str, str], status: int
) -> None:
    """As a bearer's token or by a header of its own."""
    sent = [
        (name.encode(), value.format(key=key, name="shop").encode("latin-1"))
        for name, value in headers.items()
    ]
    async with running(engine=FakeEngine(), api_keys_file=file) as service:
        reply = await service.client.post(
            "/v1/predict", content=grey(1), headers=[(b"content-type", b"image/png"), *sent]
        )

    assert reply.status_code == status


async def test_who_has_no_key_is_told_in_the_form_of_the_protocol(file: Path, key: str) -> None:
    """Which headers are meant, and by the one that HTTP has for it; the connection is closed."""
    async with running(engine=FakeEngine(), api_keys_file=file) as service:
        native = await service.client.get("/v1/models", headers={"X-Request-Id": "r1"})
        protocol = await service.client.get("/v2/models/tiny", headers=WRONG)

    message = "a key is needed: Authorization: Bearer KEY, or X-API-Key: KEY"
    error = {"code": "unauthorized", "message": message, "request_id": "r1"}
    assert (native.status_code, native.json()) == (401, {"error": error})
    assert (protocol.status_code, protocol.json()) == (401, {"error": "this key is not known here"})
    assert {reply.headers["www-authenticate"] for reply in (native, protocol)} == {"Bearer"}
    assert native.headers["connection"] == "close"


async def test_who_has_no_key_is_refused_before_a_byte_of_the_body(file: Path, key: str) -> None:
    """And before the engine sees anything."""

    async def receive() -> Message:
        raise AssertionError("the body was asked for")

    engine = FakeEngine()
    async with running(engine=engine, api_keys_file=file) as service:
        warmed_up = len(engine.ran)
        replies = [
            await service.converse(receive, path)
            for path in ("/v1/predict", "/v2/models/tiny-image/infer", "/v2/repository/index")
        ]

    assert [reply.status_code for reply in replies] == [401, 401, 401]
    assert len(engine.ran) == warmed_up


async def test_a_browser_may_ask_whether_it_may_ask(file: Path, key: str) -> None:
    """A preflight brings no key by its nature; what follows needs one, and is told so."""
    origin = {"Origin": "https://pictures.example"}
    asked = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    origins = origin["Origin"]
    async with running(engine=FakeEngine(), api_keys_file=file, cors_origins=origins) as service:
        preflight = await service.client.options("/v1/predict", headers=origin | asked)
        without = await service.client.post("/v1/predict", headers=origin)

    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-headers"] == "authorization"
    assert without.status_code == 401
    assert without.headers["access-control-allow-origin"] == origin["Origin"]


async def test_a_request_is_logged_and_counted_by_its_keys_name(
    file: Path, key: str, logged: list[dict[str, object]]
) -> None:
    """From 0 on; those without a key are counted for none."""
    add_key(file, "idle")
    async with running(engine=FakeEngine(), api_keys_file=file) as service:
        answered = await service.predict(grey(1), **bearer(key))
        await service.predict(b"none", x_api_key=key)
        await service.predict(grey(1))
        metrics = service.runtime.metrics
        counted = [
            sample(metrics, name, outcome)
            for name in ("shop", "idle")
            for outcome in ("ok", "over_share", "error")
        ]

    names = [line["key"] for line in logged if line["event"] == "request"]
    assert answered.status_code == 200
    assert names == ["shop", "shop", ""]
    assert counted == [1, 0, 1, 0, 0, 0]


async def test_a_key_appears_in_no_log_and_no_answer(
    file: Path, key: str, logged: list[dict[str, object]]
) -> None:
    """Whether it is known or not, and whatever else is wrong with its request."""
    wrong = "sge_" + "w" * 43
    sent = [PNG | headers for headers in (bearer(key), bearer(wrong), {"X-API-Key": wrong})]
    async with running(engine=FakeEngine(raises=[7]), api_keys_file=file) as service:
        replies: list[httpx.Response] = [
            await service.client.post(f"/v1/predict?{query}", content=content, headers=headers)
            for headers in sent
            for query, content in (("", grey(1)), ("top_k=x", b""), ("", b"none"), ("", grey(7)))
        ]

    told = repr(logged) + "".join(f"{reply.headers}{reply.text}" for reply in replies)
    assert {reply.status_code for reply in replies} == {200, 400, 401, 422, 500}
    assert key not in told
    assert wrong not in told


async def test_a_new_key_works_and_a_removed_one_does_not_without_a_restart(
    file: Path, key: str
) -> None:
    """Within about a second of the change of the file."""
    async with running(engine=FakeEngine(), api_keys_file=file) as service:
        before = await admits(service, key)
        newer = new_file(file, "till")
        await until(lambda: admits(service, newer))
        after = await admits(service, key)

    assert (before, after) == (True, False)


def test_keys_change_with_their_file(file: Path, key: str) -> None:
    """Those that are gone are counted no more; a damaged file leaves all as it was."""
    now = [0.0]
    metrics = Metrics(CollectorRegistry())
    keys = Keys(file, metrics, lambda: now[0])
    newer = new_file(file, "till")
    now[0] = 1.0
    renewed = [keys.name_of(each.encode()) for each in (key, newer)]
    file.write_text("nonsense")
    now[0] = 2.0
    kept = [keys.name_of(each.encode()) for each in (key, newer)]
    failures = metrics.registry.get_sample_value("sge_failed_reloads_total", {"file": "keys"})
    file.write_text("# nobody")
    now[0] = 3.0
    nobody = keys.name_of(newer.encode())
    metrics.count_key_request("shop", "ok")  # of a request that was under way
    metrics.count_key_request("till", "slow_body")

    assert renewed == kept == [None, "till"]
    assert (failures, nobody) == (1, None)
    assert sample(metrics, "shop", "ok") is sample(metrics, "till", "ok") is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [("# nobody", "holds no key, sge-serve key new makes one"), ("nonsense", "line 1 is not of")],
)
def test_a_service_does_not_start_with_a_file_that_lets_nobody_in(
    file: Path, content: str, reason: str
) -> None:
    """The variable, the file and the reason are named."""
    file.write_text(content)

    with pytest.raises(BadSetting, match=f"SGE_API_KEYS_FILE.*{file}.*{reason}"):
        Keys(file, Metrics(CollectorRegistry()), lambda: 0.0)


async def test_the_openapi_document_says_where_a_key_is_needed(file: Path, key: str) -> None:
    """Where there are keys: in either header, on all paths but the open ones; else nothing."""
    async with running(engine=FakeEngine(), api_keys_file=file) as service:
        keyed = (await service.client.get("/openapi.json", headers=bearer(key))).json()
        reply = await service.client.get("/v2/models/tiny")
    async with running(engine=FakeEngine()) as service:
        plain = (await service.client.get("/openapi.json")).json()

    needing = {
        path
        for path, operations in keyed["paths"].items()
        for operation in operations.values()
        if operation.get("security") == [{"bearer": []}, {"header": []}]
        and "401" in operation["responses"]
    }
    schemes = keyed["components"]["securitySchemes"]
    assert set(keyed["paths"]) - needing == OPEN & set(keyed["paths"])
    assert (schemes["bearer"]["scheme"], schemes["header"]["name"]) == ("bearer", "X-API-Key")
    assert reply.headers["content-type"].partition(";")[0] == "application/json"
    assert "securitySchemes" not in plain["components"]
    assert set(plain["paths"]) == set(keyed["paths"])


async def test_a_key_that_has_more_than_its_share_gets_429(file: Path, key: str) -> None:
    """At once, with the code and the moment to come again; another key is let in."""
    other = add_key(file, "till")
    engine = GatedEngine()
    async with running(engine=engine, api_keys_file=file, max_in_flight=4, max_batch=1) as service:
        inside = [
            asyncio.ensure_future(service.predict(grey(value), **bearer(each)))
            for value, each in enumerate((key, key, other))
        ]
        await engine.entered()
        await until(lambda: has_inside(service, 3))
        native = await service.predict(grey(3), **bearer(key))
        protocol = await service.client.post(
            "/v2/models/tiny-image/infer",
            content=grey(3),
            headers=bearer(key) | {"Inference-Header-Content-Length": "0"},
        )
        inside.append(asyncio.ensure_future(service.predict(grey(4), **bearer(other))))
        await until(lambda: has_inside(service, 4))
        engine.open(4)
        answered = await asyncio.gather(*inside)
        counted = sample(service.runtime.metrics, "shop", "over_share")

    assert (native.status_code, native.json()["error"]["code"]) == (429, "over_share")
    assert (protocol.status_code, counted) == (503, 2)
    assert {reply.headers["retry-after"] for reply in (native, protocol)} == {"1"}
    assert [reply.status_code for reply in answered] == [200] * 4


async def has_inside(service: Running, images: int) -> bool:
    """Whether so many images are inside."""
    return service.runtime.admission.in_use == images
