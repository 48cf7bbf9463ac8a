"""The Open Inference Protocol: how it refuses, and what a request holds while it is inside."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import threading
from typing import Any

import pytest

from service.api.cancellation import off_the_loop
from tests.api.v2.test_routes import LENGTH, WHOLE, infer, tensor_request
from tests.fakes import FakeEngine, GatedEngine
from tests.running import grey, noise, running

pytestmark = pytest.mark.anyio

PICTURE = base64.b64encode(grey(1)).decode()


@pytest.mark.parametrize(
    ("view", "sent", "status", "message"),
    [
        ("tiny", {"content": b"{"}, 400, "body: "),
        ("tiny", {"content": b"", "headers": WHOLE}, 400, "the body has 0 bytes, an image takes"),
        ("tiny-image", {"content": b"GIF", "headers": WHOLE}, 400, "the 3 bytes are not an image"),
        (
            "tiny-image",
            {"content": b"%PDF-1.7", "headers": WHOLE},
            400,
            "image is PDF, accepted are",
        ),
        ("tiny-image", {"content": grey(1), "headers": {LENGTH: "x"}}, 400, f"{LENGTH} is 'x'"),
        ("other", {"content": b""}, 404, "no model 'other', served are: tiny"),
        ("tiny/versions/7", {"content": b""}, 404, "no version '7' of tiny"),
        ("other-image", {"content": b""}, 404, "no model 'other-image'"),
        ("tiny", {"content": b"x", "headers": {"Content-Encoding": "br"}}, 415, "content encoding"),
        ("tiny", {"content": b"", "headers": {"X-Request-Deadline-Ms": "x"}}, 400, "x-request-"),
        ("tiny", {"content": b"", "headers": {"X-Request-Priority": "x"}}, 400, "x-request-"),
    ],
)
async def test_refusals_have_the_protocols_form(
    view: str, sent: dict[str, Any], status: int, message: str
) -> None:
    """One member, `error`, and a status that clients of the protocol know."""
    async with running(engine=FakeEngine()) as service:
        reply = await infer(service, view, **sent)

    assert reply.status_code == status
    assert list(reply.json()) == ["error"]
    assert reply.json()["error"].startswith(message)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v2/nothing", 404), ("GET", "/v2/models/tiny/infer", 405), ("POST", "/v2", 405)],
)
async def test_the_frameworks_refusals_have_it_too(method: str, path: str, status: int) -> None:
    """Routes and methods that do not exist."""
    async with running(engine=FakeEngine()) as service:
        reply = await service.client.request(method, path)

    assert (reply.status_code, list(reply.json())) == (status, ["error"])


@pytest.mark.parametrize("change", ["load", "unload"])
async def test_models_cannot_be_changed(change: str) -> None:
    """A client that tries is told so."""
    async with running(engine=FakeEngine()) as service:
        reply = await service.client.post(f"/v2/repository/models/tiny/{change}")

    assert (reply.status_code, list(reply.json())) == (501, ["error"])


async def test_a_broken_picture_fails_alone() -> None:
    """Of a request with several, its place is named; nothing else is touched."""
    async with running(engine=FakeEngine(raises=[66])) as service:
        good, poisonous, broken = await asyncio.gather(
            *[
                infer(service, "tiny-image", content=content, headers=WHOLE)
                for content in (grey(1), grey(66), grey(1)[:60])
            ]
        )
        failures = await service.metric(
            'sge_requests_total{model="tiny",outcome="engine_failed",version="1"}'
        )

    assert [reply.status_code for reply in (good, poisonous, broken)] == [200, 500, 400]
    assert poisonous.json() == {"error": "the model failed on this image"}
    assert failures == 1


async def test_a_timeout_in_the_request_is_a_deadline() -> None:
    """The image leaves the queue; the batch that runs is not waited for."""
    engine = GatedEngine()
    async with running(engine=engine) as service:
        running_batch = asyncio.ensure_future(service.predict(grey(1)))
        await engine.entered()
        soon = {"timeout": 500_000}  # microseconds
        late = await infer(service, "tiny", json=tensor_request(noise(1), parameters=soon))
        expired = await service.metric('sge_expired_images_total{model="tiny",version="1"}')
        engine.open()
        await running_batch

    assert late.status_code == 503
    assert "deadline" in late.json()["error"] or "500 ms" in late.json()["error"]
    assert expired == 1


async def test_too_many_rows_are_refused() -> None:
    """By the limit on images of a request."""
    async with running(engine=FakeEngine(), images_per_request=2) as service:
        reply = await infer(service, "tiny", content=b"\0" * 3 * 3 * 32 * 32, headers=WHOLE)

    assert reply.status_code == 400
    assert reply.json()["error"] == "the request holds 3 images, the limit is 2"


async def test_the_bytes_of_a_reply_are_bounded_before_anything_runs() -> None:
    """They are known from the manifest: those of masks, fewer raw, and of classes as text."""
    engine = FakeEngine()
    texts = [{"name": "PROBS", "parameters": {"classification": 3}}]
    many = {"name": "IMAGE", "datatype": "BYTES", "shape": [2], "data": [PICTURE, PICTURE]}
    one = many | {"shape": [1], "data": [PICTURE]}
    top = [{"name": "TOP_INDEX"}, {"name": "TOP_LABEL"}]
    async with running(engine=engine, answer_limit_mb=0.0002) as service:
        warmed_up = len(engine.ran)
        refused = [
            await infer(service, "tiny-explain", json={"inputs": [one]}),
            await infer(service, "tiny-image", json={"inputs": [many], "outputs": top}),
            await infer(service, "tiny", json=tensor_request(noise(1), noise(1), outputs=texts)),
        ]
        ran = len(engine.ran) - warmed_up
        inside = service.runtime.admission.in_use
        fits = await infer(service, "tiny-image", json={"inputs": [one], "outputs": top})

    assert [reply.status_code for reply in refused] == [400, 400, 400]
    assert refused[0].json()["error"].startswith("the outputs asked for take 0.000")
    assert (ran, inside) == (0, 0)
    assert fits.status_code == 200


async def test_permits_are_given_back() -> None:
    """Images and bytes, after success and failure."""
    body = json.dumps(tensor_request(noise(1))).encode()
    async with running(engine=FakeEngine()) as service:
        packed = await infer(
            service, "tiny", content=gzip.compress(body), headers={"Content-Encoding": "gzip"}
        )
        await infer(service, "tiny", content=b"{")
        inside = (
            service.runtime.admission.in_use,
            service.runtime.admission.in_use_bytes,
        )

    assert packed.status_code == 200
    assert inside == (0, 0)


async def test_an_inflated_body_counts_by_what_it_holds() -> None:
    """While it is inside: itself, and what it was inflated to."""
    engine = GatedEngine()
    body = json.dumps(tensor_request(noise(1))).encode()
    packed = gzip.compress(body)
    async with running(engine=engine) as service:
        headers = {"Content-Encoding": "gzip"}
        waiting = asyncio.ensure_future(infer(service, "tiny", content=packed, headers=headers))
        await engine.entered()
        inside = service.runtime.admission.in_use_bytes
        engine.open()
        await waiting

    assert inside == len(packed) + len(body)


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "application/x-www-form-urlencoded"}])
async def test_an_index_is_asked_for_by_any_client(headers: dict[str, str]) -> None:
    """With or without a content type; what is not a question is refused, whatever its size."""
    async with running(engine=FakeEngine()) as service:
        path = "/v2/repository/index"
        replies = [
            await service.client.post(path, content=content, headers=headers)
            for content in (b"", b'{"ready": true}', b'{"ready": null}', b"[]", b" " * 5000)
        ]
        inside = service.runtime.admission.in_use_bytes

    assert [reply.status_code for reply in replies] == [200, 200, 200, 400, 400]
    assert inside == 0


async def test_work_off_the_loop_keeps_its_permit() -> None:
    """A deadline does not let others in while a thread is still busy with a request."""
    gate, began = threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        gate.wait()

    working = asyncio.ensure_future(off_the_loop(work))
    await asyncio.to_thread(began.wait)
    working.cancel()
    done, _ = await asyncio.wait({working}, timeout=0.05)
    gate.set()

    assert not done
    with pytest.raises(asyncio.CancelledError):
        await working
