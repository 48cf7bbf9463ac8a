"""Requests that are more important than others, over both protocols."""

from __future__ import annotations

import asyncio
import base64
import functools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from httpx import Response

from service.serving.batch_policy import Room
from tests.fakes import GatedEngine
from tests.running import PNG, Running, grey, running, until

pytestmark = pytest.mark.anyio

Post = Callable[[Running, bytes, int], Awaitable[Response]]
WHOLE = {"Inference-Header-Content-Length": "0"}


def by_v1(service: Running, picture: bytes, priority: int) -> Awaitable[Response]:
    """A prediction whose class stands in its head."""
    headers = PNG | {"X-Request-Priority": str(priority)}
    return service.client.post("/v1/predict", content=picture, headers=headers)


def by_v2(service: Running, picture: bytes, priority: int) -> Awaitable[Response]:
    """The same over V2, as one tensor alone."""
    headers = WHOLE | {"X-Request-Priority": str(priority)}
    return service.client.post("/v2/models/tiny-image/infer", content=picture, headers=headers)


def by_parameter(service: Running, picture: bytes, priority: int) -> Awaitable[Response]:
    """The same with the class in the request, which goes before the head's."""
    image = {"name": "IMAGE", "datatype": "BYTES", "shape": [1, 1]}
    image |= {"data": [base64.b64encode(picture).decode()]}
    body: dict[str, Any] = {"inputs": [image], "parameters": {"priority": priority}}
    headers = {"X-Request-Priority": "2"}
    return service.client.post("/v2/models/tiny-image/infer", json=body, headers=headers)


async def is_full(service: Running) -> bool:
    """Whether one batch runs and another is stacked behind it."""
    (model,) = service.runtime.models
    return model.batcher.share.room is Room.NONE


@pytest.mark.parametrize("post", [by_v1, by_v2, by_parameter])
async def test_the_more_important_request_is_answered_first(post: Post) -> None:
    """Though it came last."""
    engine = GatedEngine()
    async with running(engine=engine, max_batch=1) as service:
        warmed_up = len(engine.ran)
        requests = [asyncio.ensure_future(service.predict(grey(value))) for value in (1, 1)]
        await until(functools.partial(is_full, service))
        for queued, (value, priority) in enumerate(((3, 3), (4, 2), (5, 1)), 1):
            requests.append(asyncio.ensure_future(post(service, grey(value), priority)))
            await until(functools.partial(service.has_queued, queued))
        engine.open(5)
        replies = await asyncio.gather(*requests)

    assert {reply.status_code for reply in replies} == {200}
    assert [ran.values for ran in engine.ran[warmed_up:]] == [(1,), (1,), (5,), (4,), (3,)]


@pytest.mark.parametrize(("post", "status"), [(by_v1, 429), (by_v2, 503), (by_parameter, 503)])
async def test_the_lowest_class_is_refused_while_half_of_the_room_is_taken(
    post: Post, status: int
) -> None:
    """With the time to come again; the others are let in."""
    engine = GatedEngine()
    async with running(engine=engine, max_in_flight=2, max_batch=1) as service:
        inside = asyncio.ensure_future(service.predict(grey(1)))
        await engine.entered()
        refused = await post(service, grey(2), 3)
        other = asyncio.ensure_future(post(service, grey(3), 1))
        engine.open(2)
        replies = await asyncio.gather(inside, other)

    assert (refused.status_code, refused.headers["retry-after"]) == (status, "1")
    assert "lowest priority" in refused.text
    assert [reply.status_code for reply in replies] == [200, 200]
