"""Refusals by the head alone: as the route would refuse, before it is asked or a body is read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.types import Message

from tests.fakes import FakeEngine, GatedEngine
from tests.running import PNG, Running, grey, running

pytestmark = pytest.mark.anyio

FULL = 'sge_rejected_requests_total{reason="overloaded"}'


@asynccontextmanager
async def full() -> AsyncIterator[Running]:
    """A service whose one permit is taken by an image in the engine."""
    engine = GatedEngine()
    async with running(engine=engine, max_in_flight=1, max_batch=1) as service:
        inside = asyncio.ensure_future(service.predict(grey(1)))
        await engine.entered()
        yield service
        engine.open()
        assert (await inside).status_code == 200


async def nobody_reads() -> Message:
    """A body that must not be asked for."""
    pytest.fail("the body was read")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/predict", 429),
        ("/v2/models/tiny/infer", 503),
        ("/v2/models/tiny-explain/versions/1/infer", 503),
    ],
)
async def test_who_finds_no_room_is_refused_before_anything_is_read(path: str, status: int) -> None:
    """In each protocol's form, counted for the model, and with the time to come again."""
    async with full() as service:
        reply = await service.converse(nobody_reads, path)
        rejected = await service.metric(FULL)
        counted = await service.metric(
            'sge_requests_total{model="tiny",outcome="overloaded",version="1"}'
        )

    assert (reply.status_code, reply.headers["retry-after"]) == (status, "1")
    assert "limit is 1" in reply.text
    assert (rejected, counted) == (1, 1)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("model=tiny&version=1", 429),
        ("topk=1", 429),
        ("%6Dodel=none", 404),
        ("model=none&model=", 429),
        ("version=7;model=tiny", 404),
    ],
)
async def test_parameters_are_looked_at_for_the_model_alone(query: str, status: int) -> None:
    """Under overload nobody takes the time to say what else is wrong."""
    async with full() as service:
        reply = await service.client.post(f"/v1/predict?{query}", content=b"", headers=PNG)

    assert reply.status_code == status


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/predict?model=none", 404),
        ("/v1/predict?version=7", 404),
        ("/v2/models/none/infer", 404),
        ("/v2/repository/models/tiny/load", 501),
        ("/v3/predict", 404),
    ],
)
async def test_what_is_no_prediction_of_a_model_gets_its_usual_answer(
    path: str, status: int
) -> None:
    """A full service is no reason to be vague."""
    async with full() as service:
        reply = await service.client.post(path, content=b"", headers=PNG)

    assert reply.status_code == status


@pytest.mark.parametrize(("deadline_ms", "status"), [("0.001", 504), ("-1", 422), ("soon", 422)])
async def test_a_deadline_that_cannot_be_met_is_seen_in_the_head(
    deadline_ms: str, status: int
) -> None:
    """One that is none is left to the route."""
    async with running(engine=FakeEngine()) as service:
        reply = await service.predict(grey(1), "topk=1", x_request_deadline_ms=deadline_ms)

    assert reply.status_code == status


async def test_a_model_that_does_not_answer_yet_is_seen_in_the_head() -> None:
    """503, before a body is read."""
    async with running(engine=FakeEngine(), is_awaited=False) as service:
        reply = await service.converse(nobody_reads)
        await service.ready

    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "not_ready")
