"""Bodies of requests: every kind, and the limits on bytes, images and time."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence

import numpy as np
import pytest
from starlette.types import Message

from tests.fakes import FakeEngine
from tests.running import Running, grey, noise, png_of, running, scores_of

pytestmark = pytest.mark.anyio


class Feed:
    """A body that comes bit by bit; after the last bit the client falls silent until it leaves."""

    def __init__(self, bits: Sequence[bytes]) -> None:
        self.left = asyncio.Event()
        self.is_read = asyncio.Event()
        self._bits = list(bits)

    async def receive(self) -> Message:
        """Give the next bit, or wait for the end."""
        if self._bits:
            return {"type": "http.request", "body": self._bits.pop(0), "more_body": True}
        self.is_read.set()
        await self.left.wait()
        return {"type": "http.disconnect"}


async def test_all_bodies_mean_the_same() -> None:
    """Bytes, a form and JSON give one answer, and several images keep their order."""
    first, second = png_of(noise(1)), png_of(noise(2))
    encoded = [{"b64": base64.b64encode(image).decode()} for image in (first, second)]
    async with running() as service:
        alone = [await service.predict(image, "top_k=3") for image in (first, second)]
        form = await service.client.post(
            "/v1/predict?top_k=3", files=[("a", ("a.png", first)), ("b", ("b.png", second))]
        )
        json = await service.client.post("/v1/predict?top_k=3", json={"images": encoded})

    for reply in (form, json):
        assert reply.json()["batch_size"] == 2  # an idle engine does not take the first alone
        np.testing.assert_allclose(scores_of(reply, 0), scores_of(alone[0]), atol=1e-5)
        np.testing.assert_allclose(scores_of(reply, 1), scores_of(alone[1]), atol=1e-5)


async def test_limits_are_kept() -> None:
    """Bytes of a body, bytes and pixels of an image and images of a request are bounded."""
    big = png_of(noise(1, side_px=300))
    small = [("a", (str(i), grey(i))) for i in range(4)]
    async with running(
        engine=FakeEngine(),
        body_limit_mb=0.4,
        image_limit_mb=0.2,
        pixel_limit_mp=0.001,
        images_per_request=3,
    ) as service:
        replies = [
            await service.predict(bytes(500_000)),
            await service.predict(big),
            await service.predict(png_of(np.zeros((50, 40), np.uint8))),
            await service.client.post("/v1/predict", files=small),
        ]

    errors = [(reply.status_code, reply.json()["error"]["code"]) for reply in replies]
    assert errors == [
        (413, "body_too_large"),
        (413, "image_too_large"),
        (413, "image_too_large"),
        (422, "bad_request"),
    ]
    assert replies[2].json()["error"]["message"].startswith("image is 40 x 50 px, the limit is")


async def test_a_broken_image_among_several_is_named() -> None:
    """A request is answered whole or not at all, and the error says which image is broken."""
    async with running(engine=FakeEngine()) as service:
        reply = await service.client.post(
            "/v1/predict", files=[("a", ("a", grey(1))), ("a", ("b", b"broken"))]
        )

    assert reply.status_code == 400
    assert reply.json()["error"]["message"].startswith("image 1 of 0 to 1: ")


async def test_a_body_that_does_not_come_is_given_up() -> None:
    """After the time-out of bodies the request is refused, its permit and its bytes are free."""
    feed = Feed([b"half of "])
    async with running(engine=FakeEngine(), body_timeout_s=0.05) as service:
        reply = await service.converse(feed.receive)
        inside = await in_use(service)
        outcomes = await service.metric(
            'sge_requests_total{model="tiny",outcome="slow_body",version="1"}'
        )

    assert (reply.status_code, reply.json()["error"]["code"]) == (408, "slow_body")
    assert reply.json()["error"]["message"].endswith("within 0.05 s, which is the limit")
    assert reply.headers["connection"] == "close"
    assert (inside, outcomes) == ((0, 0), 1)


async def test_bytes_of_all_bodies_are_bounded_while_they_come() -> None:
    """What has come counts whether it was announced or not, and is free when its request ends."""
    feed = Feed([bytes(100_000), bytes(100_000)])
    async with running(engine=FakeEngine(), bodies_in_flight_mb=0.3, body_limit_mb=0.3) as service:
        first = asyncio.ensure_future(service.converse(feed.receive))
        await feed.is_read.wait()
        held = await in_use(service)
        announced = await service.predict(bytes(150_000))
        unannounced = await service.converse(Feed([bytes(50_000), bytes(100_000)]).receive)
        fits = await service.predict(grey(1))
        feed.left.set()
        await first
        freed = await in_use(service)

    assert (held, freed) == ((1, 200_000), (0, 0))
    assert [reply.status_code for reply in (announced, unannounced, fits)] == [429, 429, 200]
    assert announced.json()["error"]["message"] == (
        "bodies of 200000 bytes are inside and 150000 more came, the limit is 300000"
    )


async def in_use(service: Running) -> tuple[float, float]:
    """Permits and bytes that are taken."""
    return (
        await service.metric("sge_permits_in_use"),
        await service.metric("sge_body_bytes_in_use"),
    )
