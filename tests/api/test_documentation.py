"""The OpenAPI document is true: what is answered is in it, and what is in it works."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from pydantic import TypeAdapter
from starlette.types import Receive, Scope, Send

from service.api.bounded_route import LONGEST_QUERY
from service.api.context import PROBES_ONLY
from service.api.schemas import ErrorBody
from service.api.v2.documentation import V2Error
from service.serving.tiers import Tier
from tests.api.test_refusals import BAD
from tests.fakes import FakeEngine
from tests.running import PNG, Running, grey, noise, running

pytestmark = pytest.mark.anyio

ERROR = TypeAdapter[ErrorBody | V2Error](ErrorBody | V2Error)
VALUES = {"{name}": ("tiny", "nothing"), "{version}": ("1", "nothing")}
QUERIES = ("", "version=nothing", f"version={'x' * LONGEST_QUERY}")


def paths_of(template: str) -> list[str]:
    """A documented path with every value in its place."""
    paths = [template]
    for place, values in VALUES.items():
        paths = [path.replace(place, value) for path in paths for value in values]
    return sorted(set(paths))


def require_documented(operation: dict[str, Any], reply: httpx.Response) -> None:
    """Hold a reply against an operation: its status, its content type, the form of its errors."""
    known = operation["responses"]
    status = str(reply.status_code)
    response = known.get(status) or known[f"{status[0]}XX"]
    kind = reply.headers["content-type"].partition(";")[0]
    assert kind in response["content"]
    if reply.status_code >= 400 and "ready" not in reply.json():
        ERROR.validate_json(reply.content)


async def operations_of(service: Running, method: str) -> list[tuple[str, dict[str, Any]]]:
    """The documented paths of a method."""
    paths = (await service.client.get("/openapi.json")).json()["paths"]
    return [(path, methods[method]) for path, methods in paths.items() if method in methods]


@pytest.mark.parametrize("tier", ["final", "restarting"])
async def test_every_answer_to_a_question_is_documented(tier: Tier) -> None:
    """With models and versions that exist and do not, whether they are ready or not."""
    async with running(engine=FakeEngine()) as service:
        for model in service.runtime.models:
            model.tier = tier
        for template, operation in await operations_of(service, "get"):
            for path in paths_of(template):
                for query in QUERIES:
                    reply = await service.client.get(f"{path}?{query}")
                    require_documented(operation, reply)


async def test_every_answer_to_a_prediction_is_documented() -> None:
    """Good or bad, whatever is wrong with it; of the last kinds the model or the service."""
    bad = [tuple(case.values[:3]) for case in BAD]
    poisonous, encoded = (grey(66), "", PNG), (grey(1), "", PNG | {"Content-Encoding": "br"})
    late = (grey(1), "", PNG | {"X-Request-Deadline-Ms": "1e-9"})
    async with running(engine=FakeEngine(raises=[66]), body_limit_mb=0.1) as service:
        ((_, operation),) = [
            one for one in await operations_of(service, "post") if one[0] == "/v1/predict"
        ]
        statuses = set()
        for content, query, headers in [
            (grey(1), "masks=all", PNG),
            (bytes(200_000), "", PNG),
            *(encoded, late, poisonous, *bad),
        ]:
            reply = await service.client.post(
                f"/v1/predict?{query}",
                content=content,  # type: ignore[arg-type]
                headers=headers,  # type: ignore[arg-type]
            )
            require_documented(operation, reply)
            statuses.add(reply.status_code)
        service.runtime.admission.drain()
        refused = await service.predict(grey(1))
        require_documented(operation, refused)

    assert statuses | {refused.status_code} == {200, 400, 404, 413, 415, 422, 500, 503, 504}


async def test_every_answer_of_the_protocol_is_documented() -> None:
    """Requests in JSON, raw, empty, compressed, of wrong names, late and while it stops."""
    length = "Inference-Header-Content-Length"
    sent: list[dict[str, Any]] = [
        {"content": noise(1).transpose(2, 0, 1).tobytes(), "headers": {length: "0"}},
        {"content": noise(1).tobytes()[:7], "headers": {length: "0"}},
        {"json": {"inputs": []}},
        {"json": {"inputs": [], "ready": False}},
        {"content": b"x", "headers": {"Content-Encoding": "br"}},
        {"content": b"", "headers": {"X-Request-Deadline-Ms": "1e-9"}},
        {"content": b""},
    ]
    async with running(engine=FakeEngine()) as service:
        operations = [
            one for one in await operations_of(service, "post") if one[0].startswith("/v2")
        ]
        for _ in range(2):
            for template, operation in operations:
                for path in paths_of(template):
                    for request in sent:
                        require_documented(operation, await service.client.post(path, **request))
            service.runtime.admission.drain()

    assert len(operations) == 5


async def test_what_any_route_may_answer_is_documented_for_each() -> None:
    """No room but for probes, a host name that is none of ours, and what is no request."""
    async with running(engine=FakeEngine(), allowed_hosts="service") as service:

        async def crowded(scope: Scope, receive: Receive, send: Send) -> None:
            await service.app({**scope, PROBES_ONLY: True}, receive, send)

        asked = set()
        for method in ("get", "post"):
            for template, operation in await operations_of(service, method):
                path = paths_of(template)[-1]
                for app, host in ((crowded, "service"), (service.app, "other")):
                    transport = httpx.ASGITransport(app)
                    async with httpx.AsyncClient(
                        transport=transport, base_url=f"http://{host}"
                    ) as client:
                        reply = await client.request(method, path)
                    require_documented(operation, reply)
                    asked.add(reply.status_code)
                known = operation["responses"]
                assert {"400", "408", "431"} <= known.keys() or "4XX" in known

    assert {400, 503} <= asked


async def test_a_long_query_costs_nothing() -> None:
    """Of thousands of parameters none is looked at; both protocols refuse them in their form."""
    query = "&".join(f"a{number}=" for number in range(2000))
    async with running(engine=FakeEngine()) as service:
        native = await service.predict(grey(1), query)
        protocol = await service.client.get(f"/v2/models/tiny?{query}")

    message = f"the query has {len(query)} bytes, the limit is {LONGEST_QUERY}"
    assert (native.status_code, native.json()["error"]["message"]) == (422, message)
    assert (protocol.status_code, protocol.json()) == (400, {"error": message})


async def test_what_a_client_sent_comes_back_in_part_at_most() -> None:
    """In headers, parameters, names and paths: the message stays short, and says enough."""
    long = "x" * 3000
    async with running(engine=FakeEngine()) as service:
        client = service.client
        replies = [
            await service.predict(grey(1), x_request_deadline_ms=long * 10),
            await service.predict(grey(1), f"top_k={long}"),
            await service.predict(grey(1), f"{long}=1"),
            await service.predict(grey(1), f"masks={long}"),
            await client.post("/v1/predict", headers={"Content-Type": long * 10}),
            await client.get(f"/v1/models/{long}"),
            await client.get(f"/{long}"),
            await client.post(f"/v2/repository/models/{long}/load"),
            await client.post(
                "/v1/predict",
                content=b'--x\r\nContent-Disposition: form-data; name="'
                + long.encode()
                + b'"\r\n\r'
                b"\n\r\n--x--\r\n",
                headers={"Content-Type": "multipart/form-data; boundary=x"},
            ),
        ]

    assert {reply.status_code for reply in replies} == {404, 415, 422, 501}
    assert max(len(reply.content) for reply in replies) < 1300


async def test_the_examples_of_the_openapi_document_work() -> None:
    """The example body is answered, and the example reply has the reply's own shape."""
    async with running() as service:
        document = (await service.client.get("/openapi.json")).json()
        operation = document["paths"]["/v1/predict"]["post"]
        example = operation["requestBody"]["content"]["application/json"]["example"]
        reply = await service.client.post("/v1/predict?masks=last", json=example)

    shown = operation["responses"]["200"]["content"]["application/json"]["example"]
    assert reply.status_code == 200
    assert reply.json().keys() == shown.keys()
    assert reply.json()["results"][0].keys() == shown["results"][0].keys()
    assert reply.json()["results"][0]["masks"][0].keys() == shown["results"][0]["masks"][0].keys()
    assert {"400", "404", "413", "415", "422", "429", "500", "503", "504"} <= operation[
        "responses"
    ].keys()


async def test_every_reference_of_the_openapi_document_resolves() -> None:
    """Each schema that is referred to is there."""
    async with running(engine=FakeEngine()) as service:
        text = (await service.client.get("/openapi.json")).text
        schemas = (await service.client.get("/openapi.json")).json()["components"]["schemas"]

    assert set(re.findall(r"#/components/schemas/(\w+)", text)) <= schemas.keys()
