"""Bodies of requests: every kind, and the limits on bytes, images and time."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import zlib
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from starlette.types import Message

from tests.fakes import FakeEngine
from tests.running import PNG, Running, grey, noise, png_of, running, scores_of

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
        listed = await service.client.post("/v1/predict?top_k=3", json={"images": encoded})

    for reply in (form, listed):
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

    assert (held, freed) == ((0, 200_000), (0, 0))
    assert [reply.status_code for reply in (announced, unannounced, fits)] == [429, 429, 200]
    assert announced.json()["error"]["message"] == (
        "bodies of 200000 bytes are inside and 150000 more came, the limit is 300000"
    )


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": lambda body: gzip.compress(body[:50]) + gzip.compress(body[50:]),
    "Deflate": zlib.compress,
}


@pytest.mark.parametrize("coding", PACKERS)
async def test_bodies_of_every_kind_may_be_compressed(coding: str) -> None:
    """A file, JSON with base64 and a form; clients that compress do so whatever they send."""
    file = grey(1)
    listed = json.dumps({"images": [{"b64": base64.b64encode(file).decode()}]}).encode()
    form = b'--x\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n%b\r\n--x--\r\n'
    kinds = {
        "image/png": file,
        "application/json": listed,
        "multipart/form-data; boundary=x": form % file,
    }
    async with running(engine=FakeEngine()) as service:
        replies = [
            await service.client.post(
                "/v1/predict",
                content=PACKERS[coding](body),
                headers={"Content-Type": kind, "Content-Encoding": coding},
            )
            for kind, body in kinds.items()
        ]
        inside = await in_use(service)

    assert [reply.status_code for reply in replies] == [200, 200, 200]
    assert inside == (0, 0)


@pytest.mark.parametrize("path", ["/v1/predict", "/v2/models/tiny/infer"])
async def test_a_content_encoding_that_is_unknown_is_named_with_those_that_are_not(
    path: str,
) -> None:
    """A client that reads `Accept-Encoding` can send its request again."""
    async with running(engine=FakeEngine()) as service:
        reply = await service.client.post(
            path, content=b"x", headers=PNG | {"Content-Encoding": "zstd"}
        )

    assert (reply.status_code, reply.headers["accept-encoding"]) == (415, "gzip, deflate")
    assert "content encoding 'zstd' is not accepted, send one of gzip, deflate" in reply.text


async def test_a_body_is_inflated_within_the_limits() -> None:
    """Of one body and of all that are inside; what is too much is never made."""
    feed = Feed([bytes(200_000)])
    packed = [gzip.compress(bytes(size)) for size in (300_001, 200_000, 50_000)]
    async with running(engine=FakeEngine(), bodies_in_flight_mb=0.3, body_limit_mb=0.3) as service:
        first = asyncio.ensure_future(service.converse(feed.receive))
        await feed.is_read.wait()
        replies = [await service.predict(body, content_encoding="gzip") for body in packed]
        feed.left.set()
        await first
        freed = await in_use(service)

    assert [reply.status_code for reply in replies] == [413, 429, 400]  # the last is no image
    assert replies[0].json()["error"]["message"] == (
        "the body inflates to more than 300000 bytes, the limit"
    )
    assert freed == (0, 0)


BAD_JSON = {
    "numbers": (b'{"images":[' + b"0," * 500_000 + b"0]}", "the JSON holds more than 1064 values"),
    "few numbers": (b'{"images":[0,0,0]}', "images.0: input should be an object"),
    "depth": (b"[" * 1_000_000, "the JSON holds more than 98304 bytes beside its images"),
    "keys": (b"{" + b'"a":1,' * 900 + b'"a":1}', "images: field required"),
    "a long key": (b'{"images":[{"' + b"k" * 1_000_000 + b'":1}]}', "images.0.b64: field required"),
    "a long text": (
        b'{"images":["' + b"x" * 1_000_000 + b'"]}',
        "images.0: input should be an",
    ),
    "wide text": (
        b'{"images":[{"b64":"' + b"A" * 1_000_000 + b'\\ud83d\\ude00"}]}',
        "images.0.b64: not base64",
    ),
    "a text too many": (
        b'{"images":[{"b64":""}],"x":"' + b"x" * 1_000_000 + b'"}',
        "x: extra inputs are not permitted",
    ),
    "images": (
        b'{"images":[' + b'{"b64":""},' * 40 + b'{"b64":""}]}',
        "the request holds 41 images, the limit is 32",
    ),
}


@pytest.mark.parametrize(("body", "message"), BAD_JSON.values(), ids=BAD_JSON.keys())
async def test_json_of_any_size_is_refused_at_its_first_fault(body: bytes, message: str) -> None:
    """In one short sentence: of a million faults none is built, and none rendered."""
    async with running(engine=FakeEngine()) as service:
        headers = {"Content-Type": "application/json"}
        reply = await service.client.post("/v1/predict", content=body, headers=headers)

    assert reply.status_code == 422
    assert reply.json()["error"]["message"].startswith(message)
    assert len(reply.content) < 400


async def test_base64_comes_in_the_forms_that_clients_send() -> None:
    """A data URL, lines, the other alphabet, no padding."""
    file = grey(1)
    plain = base64.b64encode(file).decode()
    forms = [
        f"data:image/png;base64,{plain}",
        base64.encodebytes(file).decode(),
        base64.urlsafe_b64encode(file).decode().rstrip("="),
    ]
    async with running(engine=FakeEngine()) as service:
        native = await service.client.post(
            "/v1/predict", json={"images": [{"b64": form} for form in forms]}
        )
        tensor = {"name": "IMAGE", "datatype": "BYTES", "shape": [3], "data": forms}
        protocol = await service.client.post(
            "/v2/models/tiny-image/infer", json={"inputs": [tensor]}
        )

    assert (native.status_code, protocol.status_code) == (200, 200)
    assert len(native.json()["results"]) == 3


async def in_use(service: Running) -> tuple[float, float]:
    """Permits and bytes that are taken."""
    return (
        await service.metric("sge_permits_in_use"),
        await service.metric("sge_body_bytes_in_use"),
    )
