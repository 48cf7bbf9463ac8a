"""Requests that are not answered: what each is told, and with which status."""

from __future__ import annotations

import asyncio

import pytest

from tests.fakes import FakeEngine, GatedEngine
from tests.running import PNG, grey, running

pytestmark = pytest.mark.anyio

BAD = [
    pytest.param(b"", "", PNG, 400, "undecodable_image", id="no bytes"),
    pytest.param(b"nonsense", "", PNG, 400, "undecodable_image", id="no image"),
    pytest.param(grey(1)[:60], "", PNG, 400, "undecodable_image", id="a truncated image"),
    pytest.param(b"%PDF-1.7 ...", "", PNG, 415, "unsupported_format", id="another format"),
    pytest.param(
        grey(1), "", {"Content-Type": "text/plain"}, 415, "unsupported_format", id="a wrong type"
    ),
    pytest.param(grey(1), "top_k=0", PNG, 422, "bad_request", id="no predictions wanted"),
    pytest.param(grey(1), "topk=1", PNG, 422, "bad_request", id="a misspelt parameter"),
    pytest.param(grey(1), "masks=layer9.9", PNG, 422, "bad_request", id="an unknown block"),
    pytest.param(grey(1), "masks=last&groups=8", PNG, 422, "bad_request", id="an unknown group"),
    pytest.param(grey(1), "mask_kind=shape", PNG, 422, "bad_request", id="an unknown kind"),
    pytest.param(grey(1), "model=other", PNG, 404, "unknown_model", id="an unknown model"),
    pytest.param(grey(1), "version=2", PNG, 404, "unknown_model", id="an unknown version"),
    pytest.param(
        grey(1), "", PNG | {"X-Request-Deadline-Ms": "soon"}, 422, "bad_request", id="a deadline"
    ),
    pytest.param(
        grey(1), "", PNG | {"X-Request-Deadline-Ms": "inf"}, 422, "bad_request", id="no deadline"
    ),
    pytest.param(
        grey(1), "", PNG | {"X-Request-Priority": "4"}, 422, "bad_request", id="a priority"
    ),
    pytest.param(
        b'{"images": []}',
        "",
        {"Content-Type": "application/json"},
        422,
        "bad_request",
        id="JSON without images",
    ),
    pytest.param(
        b'{"images": [{"b64": "?"}]}',
        "",
        {"Content-Type": "application/json"},
        422,
        "bad_request",
        id="JSON that is not base64",
    ),
    pytest.param(
        b"--x--",
        "",
        {"Content-Type": "multipart/form-data; boundary=x"},
        422,
        "bad_request",
        id="an empty form",
    ),
    pytest.param(
        b"x", "", {"Content-Type": "multipart/form-data"}, 422, "bad_request", id="no boundary"
    ),
]


@pytest.mark.parametrize(("content", "query", "headers", "status", "code"), BAD)
async def test_every_bad_request_has_its_answer(
    content: bytes, query: str, headers: dict[str, str], status: int, code: str
) -> None:
    """Status and code say what is wrong, the message says it in words, with the request id."""
    async with running(engine=FakeEngine()) as service:
        reply = await service.client.post(f"/v1/predict?{query}", content=content, headers=headers)

    error = reply.json()["error"]
    assert (reply.status_code, error["code"]) == (status, code)
    assert error["message"]
    assert error["request_id"] == reply.headers["x-request-id"]
    assert reply.headers["x-error-code"] == code


async def test_mask_pictures_are_bounded() -> None:
    """Pictures are counted over images, blocks and groups; numbers are not pictures."""
    async with running(mask_pictures=8) as service:
        most = await service.predict(grey(1), "masks=last&mask_format=png")
        one_more = await service.predict(grey(1), "masks=stage3,last&mask_format=overlay")
        mean = await service.predict(grey(1), "masks=all&groups=mean&mask_format=png")
        numbers = await service.predict(grey(1), "masks=all")

    replies = (most, one_more, mean, numbers)
    assert [reply.status_code for reply in replies] == [200, 422, 200, 200]
    assert one_more.json()["error"]["message"].startswith("16 pictures asked for")


async def test_the_bytes_of_masks_are_bounded_before_anything_runs() -> None:
    """What an answer takes is known from the manifest: numbers count as pictures do."""
    engine = FakeEngine()
    async with running(engine=engine, answer_limit_mb=0.01) as service:
        warmed_up = len(engine.ran)
        refused = await service.predict(grey(1), "masks=all")
        ran = len(engine.ran) - warmed_up
        mean = await service.predict(grey(1), "masks=all&groups=mean&mask_format=npy&top_k=1")

    message = refused.json()["error"]["message"]
    assert (refused.status_code, mean.status_code) == (422, 200)
    assert message.startswith("what is asked for takes 0.0874 MB, the limit is 0.01 MB")
    assert ran == 0


async def test_one_image_too_many_is_refused() -> None:
    """With every permit taken the answer is 429 at once, and says when to come again."""
    engine = GatedEngine()
    async with running(engine=engine, max_in_flight=2, max_batch=1) as service:
        inside = [asyncio.ensure_future(service.predict(grey(i))) for i in (1, 2)]
        await engine.entered()
        refused = await service.predict(grey(3))
        engine.open(2)
        answered = await asyncio.gather(*inside)

    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert [reply.status_code for reply in answered] == [200, 200]


async def test_an_answer_that_comes_too_late_is_not_waited_for() -> None:
    """When the deadline comes during the run, the client hears of it at once."""
    engine = GatedEngine()
    async with running(engine=engine, max_batch=1) as service:
        reply = await service.predict(grey(1), x_request_deadline_ms="1000")
        engine.open(1)

    assert (reply.status_code, reply.json()["error"]["code"]) == (504, "deadline_exceeded")
    assert reply.json()["error"]["message"] == "no answer within 1000 ms"


async def test_a_fault_of_the_model_is_not_told_to_the_client() -> None:
    """The reply names the request, not the cause."""
    async with running(engine=FakeEngine(raises=[7])) as service:
        reply = await service.predict(grey(7), x_request_id="r1")

    assert reply.status_code == 500
    assert reply.json()["error"] == {
        "code": "engine_failed",
        "message": "the model failed on this image",
        "request_id": "r1",
    }


async def test_a_crash_of_the_engine_is_told_without_its_cause() -> None:
    """A client learns that another attempt may succeed, and nothing of the inside."""
    async with running(engine=FakeEngine(lethal=[7])) as service:
        reply = await service.predict(grey(7))

    error = reply.json()["error"]
    assert (reply.status_code, error["code"]) == (500, "engine_lost")
    assert (
        error["message"] == "the engine crashed with this image in its batch and is being restarted"
    )


async def test_a_draining_service_refuses_and_closes() -> None:
    """New requests get 503, the connection is closed, readiness is gone, life is not."""
    async with running(engine=FakeEngine()) as service:
        service.runtime.admission.drain()
        refused = await service.predict(grey(1))
        ready = await service.client.get("/readyz")
        alive = await service.client.get("/healthz")

    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "draining")
    assert (refused.headers["connection"], refused.headers["retry-after"]) == ("close", "5")
    assert (ready.status_code, alive.status_code) == (503, 200)


async def test_the_head_of_an_answer_tells_its_error_on_both_protocols() -> None:
    """A balancer reads no bodies, and V2 has one status for four errors."""
    async with running(engine=FakeEngine()) as service:
        service.runtime.admission.drain()
        replies = [
            await service.client.post(path, content=grey(1), headers=PNG)
            for path in ("/v1/predict", "/v2/models/tiny-image/infer")
        ]

    told = [(reply.status_code, reply.headers["x-error-code"]) for reply in replies]
    assert told == [(503, "draining"), (503, "draining")]


async def test_unknown_paths_have_the_same_kind_of_error() -> None:
    """404 and 405 come in the service's own form."""
    async with running(engine=FakeEngine()) as service:
        missing = await service.client.get("/v3/predict")
        wrong = await service.client.get("/v1/predict")

    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")
