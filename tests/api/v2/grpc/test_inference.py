"""Predictions over gRPC: the same answers, bounds, deadlines and books as over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
import numpy as np
import pytest
from grpc import StatusCode
from structlog.testing import capture_logs

from service.api.v2.grpc.open_inference_pb2 import ModelInferRequest, ModelInferResponse
from service.api.v2.messages import HEADER_LENGTH
from tests.api.v2.grpc.calling import (
    INFERENCE,
    Client,
    Reply,
    connected,
    pictures,
    pixels,
    raw_pixels,
)
from tests.fakes import FakeEngine, GatedEngine
from tests.running import grey, noise, tiny_model, until

pytestmark = pytest.mark.anyio

INFER = f"{INFERENCE}ModelInfer"


def tensors_of(reply: Reply) -> dict[str, bytes]:
    """The outputs of an answered call by name, raw."""
    message = reply.read(ModelInferResponse)
    names = [output.name for output in message.outputs]
    return dict(zip(names, message.raw_output_contents, strict=True))


def codes_of(replies: list[Reply]) -> list[StatusCode]:
    """How calls ended."""
    return [reply.code for reply in replies]


async def outcomes(client: Client, outcome: str, model: str = "tiny", version: str = "1") -> float:
    """How many predictions have ended so."""
    labels = f'model="{model}",outcome="{outcome}",version="{version}"'
    return await client.service.metric(f"sge_requests_total{{{labels}}}")


async def _have_ended(client: Client, outcome: str, calls: int) -> bool:
    return await outcomes(client, outcome) == calls


async def test_both_wires_give_the_same_probabilities() -> None:
    """Bit by bit, from the network itself."""
    images = np.stack([noise(seed).transpose(2, 0, 1) for seed in range(2)])
    async with connected() as client:
        over_grpc = await client.infer(raw_pixels(images, id="7"))
        over_http = await client.service.client.post(
            "/v2/models/tiny/infer", content=images.tobytes(), headers={HEADER_LENGTH: "0"}
        )

    message = over_grpc.read(ModelInferResponse)
    size = int(over_http.headers[HEADER_LENGTH])
    assert (message.model_name, message.model_version, message.id) == ("tiny", "1", "7")
    assert list(message.outputs[0].shape) == [2, 3]
    assert message.raw_output_contents[0] == over_http.content[size:]


async def test_pictures_are_classified_and_explained() -> None:
    """Under the model's other names, with masks and evidence."""
    async with connected() as client:
        plain = tensors_of(await client.infer(pictures(grey(9), grey(200))))
        explained = tensors_of(
            await client.infer(pictures(grey(9), grey(200), name="tiny-explain"))
        )

    assert list(plain) == ["TOP_INDEX", "TOP_SCORE", "TOP_LABEL"]
    assert plain["TOP_INDEX"] == explained["TOP_INDEX"]
    assert len(explained["MASK"]) == 2 * 8 * 2 * 2 * 4
    assert len(explained["ATTRIBUTION"]) == 2 * 3 * 2 * 2 * 4


async def test_the_version_that_is_named_answers() -> None:
    """Else the latest one."""
    async with connected(tiny_model(), tiny_model(version="2"), engine=FakeEngine()) as client:
        replies = [await client.infer(pixels(1, model_version=version)) for version in ("1", "")]
        absent = await client.infer(pixels(1, model_version="3"))

    versions = [reply.read(ModelInferResponse).model_version for reply in replies]
    assert versions == ["1", "2"]
    assert (absent.code, absent.details) == (
        StatusCode.NOT_FOUND,
        "no version '3' of tiny, served are: 1, 2",
    )


async def test_a_prediction_is_counted_as_one_over_http_is() -> None:
    """Once in each of the books, with its phases, and one line in the access log."""
    with capture_logs() as lines:
        async with connected(engine=FakeEngine()) as client:
            reply = await client.infer(pixels(1, 2, 3), metadata=(("x-request-id", "seven"),))
            books = [
                await client.service.metric("sge_requests_received_total"),
                await outcomes(client, "ok"),
                await client.service.metric('sge_images_total{model="tiny",version="1"}'),
                *[
                    await client.service.metric(
                        f'sge_phase_seconds_count{{model="tiny",phase="{phase}",version="1"}}'
                    )
                    for phase in ("queue", "infer", "postprocess", "total")
                ],
            ]

    (line,) = [line for line in lines if line.get("path") == INFER]
    told = {name: line[name] for name in ("method", "status", "outcome", "model", "images")}
    assert books == [1, 1, 3, 1, 1, 1, 1]
    assert told == {
        "method": "gRPC",
        "status": 0,
        "outcome": "ok",
        "model": "tiny/1",
        "images": 3,
    }
    assert line["client"] == "127.0.0.1"
    assert reply.trailers["x-request-id"] == "seven"
    assert reply.trailers["server-timing"].startswith("queue;dur=")


async def test_a_request_id_is_made_where_none_is_sent() -> None:
    """For answers and refusals alike."""
    async with connected(engine=FakeEngine()) as client:
        replies = [await client.infer(pixels(1)), await client.infer(pixels(1, model_name="x"))]

    ids = [reply.trailers["x-request-id"] for reply in replies]
    assert [len(request_id) for request_id in ids] == [32, 32]
    assert ids[0] != ids[1]


TENSOR = pixels(1).SerializeToString()


@pytest.mark.parametrize(
    ("content", "code", "details"),
    [
        (b"\xff\xff\xff", StatusCode.INVALID_ARGUMENT, "the message is damaged"),
        (TENSOR[:-1], StatusCode.INVALID_ARGUMENT, "3072 bytes are to follow, 3071 do"),
        (TENSOR[:40], StatusCode.INVALID_ARGUMENT, "bytes are to follow"),
        (b"\x3a\xff\xff\xff\xff\x0f", StatusCode.INVALID_ARGUMENT, "4294967295 bytes are to"),
        (b"\x08\x01" * 2000, StatusCode.INVALID_ARGUMENT, "the message has too many fields"),
        (b"", StatusCode.INVALID_ARGUMENT, "the inputs are none, the model takes IMAGE"),
        (pixels(1, side_px=31), StatusCode.INVALID_ARGUMENT, "IMAGE is of shape [1, 3, 31, 31]"),
        (pictures(b"GIF"), StatusCode.INVALID_ARGUMENT, "the 3 bytes are not an image"),
        (pixels(1, model_name="other"), StatusCode.NOT_FOUND, "no model 'other'"),
        (pixels(*[1] * 33), StatusCode.INVALID_ARGUMENT, "the request holds 33 images"),
    ],
)
async def test_what_makes_no_sense_is_told_and_holds_nothing(
    content: Any, code: StatusCode, details: str
) -> None:
    """Neither images nor bytes stay inside, and the next call is answered."""
    async with connected(engine=FakeEngine()) as client:
        refused = await client.call("ModelInfer", content)
        admission = client.service.runtime.admission
        inside = (admission.in_use, admission.in_use_bytes, admission.requests)
        good = await client.infer(pixels(1))

    assert refused.code == code
    assert details in refused.details
    assert inside == (0, 0, 0)
    assert good.code == StatusCode.OK


async def test_a_message_counts_by_its_bytes_while_it_is_inside() -> None:
    """As a body over HTTP does; where there is no room for it, it is refused."""
    engine = GatedEngine()
    async with connected(
        engine=engine, bodies_in_flight_mb=0.01, body_limit_mb=0.01, max_batch=1
    ) as client:
        waiting = asyncio.ensure_future(client.infer(pixels(1, 2)))
        await engine.entered()
        inside = client.service.runtime.admission.in_use_bytes
        refused = await client.infer(pixels(3, 4))
        engine.open(2)
        answered = await waiting

    assert inside == len(pixels(1, 2).SerializeToString())
    assert (refused.code, refused.trailers["grpc-retry-pushback-ms"]) == (
        StatusCode.RESOURCE_EXHAUSTED,
        "1000",
    )
    assert "bodies of" in refused.details
    assert answered.code == StatusCode.OK


async def test_a_message_over_the_limit_is_refused_before_it_comes() -> None:
    """By gRPC itself, as its length is announced: the service sees that no message came."""
    async with connected(engine=FakeEngine(), body_limit_mb=0.001) as client:
        refused = await client.infer(pixels(1))
        await until(lambda: _are_without_message(client, 1))

    assert refused.code == StatusCode.RESOURCE_EXHAUSTED
    assert "larger than max" in refused.details


async def _are_without_message(client: Client, calls: int) -> bool:
    return await outcomes(client, "no_message", "none", "none") == calls


async def test_a_call_without_a_message_is_refused() -> None:
    """A client that closes its side at once."""
    async with connected(engine=FakeEngine()) as client:
        call: Any = client.channel.stream_unary(INFER)()
        await call.done_writing()
        code, details = await call.code(), await call.details()

    assert (code, details) == (StatusCode.INVALID_ARGUMENT, "the call brought no message")


async def test_calls_over_the_limit_are_refused_at_once() -> None:
    """A thousand at one time: so many images as fit are answered, the others told when to come."""
    engine = GatedEngine()
    async with connected(engine=engine, max_in_flight=8, max_batch=8) as client:
        first = asyncio.ensure_future(client.infer(pixels(1)))
        await engine.entered()
        waiting = [asyncio.ensure_future(client.infer(pixels(2))) for _ in range(1000)]
        await until(lambda: _are_done(waiting, 993))
        engine.open(10)
        replies = await asyncio.gather(first, *waiting)
        counted = [await outcomes(client, outcome) for outcome in ("ok", "overloaded")]
        inside = client.service.runtime.admission.in_use

    codes = codes_of(list(replies))
    assert [codes.count(code) for code in (StatusCode.OK, StatusCode.RESOURCE_EXHAUSTED)] == [
        8,
        993,
    ]
    assert (counted, inside) == ([8, 993], 0)


async def _are_done(calls: Sequence[asyncio.Future[Reply]], count: int) -> bool:
    return sum(call.done() for call in calls) == count


async def test_a_client_that_cancels_takes_its_images_along() -> None:
    """Those that wait; and the books say that it left."""
    engine = GatedEngine()
    async with connected(engine=engine, max_batch=1) as client:
        running_batch = asyncio.ensure_future(client.infer(pixels(1)))
        await engine.entered()
        stacked = asyncio.ensure_future(client.infer(pixels(2)))
        await until(lambda: _are_inside(client, 2))
        leaving = client.begin(INFER, pixels(3).SerializeToString())
        await until(lambda: _are_inside(client, 3))
        leaving.cancel()
        await until(lambda: _are_inside(client, 2))
        disconnected = await outcomes(client, "disconnected")
        engine.open(2)
        answered = [await running_batch, await stacked]

    assert disconnected == 1
    assert codes_of(answered) == [StatusCode.OK] * 2
    assert [ran.values for ran in engine.ran] == [(1,), (2,)]


async def _are_inside(client: Client, images: int) -> bool:
    return client.service.runtime.admission.in_use == images


@pytest.mark.parametrize(
    "late",
    [
        {"timeout": 0.2},
        {"message": pixels(2, parameters={"timeout": {"int64_param": 200_000}})},
    ],
)
async def test_a_deadline_is_kept(late: dict[str, Any]) -> None:
    """That of gRPC, and that of the protocol's parameter: the image leaves the queue."""
    engine = GatedEngine()
    message = late.pop("message", pixels(2))
    async with connected(engine=engine) as client:
        running_batch = asyncio.ensure_future(client.infer(pixels(1)))
        await engine.entered()
        refused = await client.infer(message, **late)
        await until(lambda: _are_inside(client, 1))
        await until(lambda: _have_ended(client, "deadline_exceeded", 1))  # counted once refused
        engine.open()
        await running_batch

    assert refused.code == StatusCode.DEADLINE_EXCEEDED
    assert [ran.values for ran in engine.ran] == [(1,)]


async def test_a_deadline_that_has_come_is_told() -> None:
    """Whichever side sees it first."""
    async with connected(engine=FakeEngine()) as client:
        late = await client.infer(pixels(1), timeout=0)
        good = await client.infer(pixels(1))

    assert codes_of([late, good]) == [StatusCode.DEADLINE_EXCEEDED, StatusCode.OK]


async def test_a_model_that_fails_on_an_image_fails_that_call_alone() -> None:
    """Without a detail, and with the request id."""
    async with connected(engine=FakeEngine(raises=[66])) as client:
        replies = await asyncio.gather(*[client.infer(pixels(value)) for value in (1, 66, 2)])

    assert codes_of(list(replies)) == [StatusCode.OK, StatusCode.INTERNAL, StatusCode.OK]
    assert replies[1].details == "the model failed on this image"


async def test_a_draining_service_takes_nothing_new_and_answers_what_is_inside() -> None:
    """New calls are told that it stops, before their message is read."""
    engine = GatedEngine()
    async with connected(engine=engine) as client:
        inside = asyncio.ensure_future(client.infer(pixels(1)))
        await engine.entered()
        client.service.runtime.admission.drain()
        refused = await client.infer(pixels(2))
        engine.open()
        answered = await inside

    assert (refused.code, refused.details) == (StatusCode.UNAVAILABLE, "the service is stopping")
    assert answered.code == StatusCode.OK


async def test_compressed_messages_are_refused() -> None:
    """What they inflate to could not be bounded."""
    async with connected(engine=FakeEngine()) as client:
        refused = await client.infer(pixels(1), compression=grpc.Compression.Gzip)
        await until(lambda: _are_without_message(client, 1))

    assert refused.code == StatusCode.UNIMPLEMENTED


async def test_large_numbers_in_contents_are_parsed_beside_the_loop() -> None:
    """As lists in JSON are; they mean the same as raw bytes."""
    message = ModelInferRequest(model_name="tiny", inputs=pixels(*[200] * 20).inputs)
    message.inputs[0].contents.uint_contents.extend([200] * 20 * 3 * 32 * 32)
    async with connected(engine=FakeEngine()) as client:
        listed = await client.infer(message)
        raw = await client.infer(pixels(*[200] * 20))

    assert tensors_of(listed) == tensors_of(raw)


async def test_with_several_models_the_message_says_which() -> None:
    """Nothing is refused for another one's state."""
    models = tiny_model("a"), tiny_model("b")
    async with connected(*models, engine=FakeEngine()) as client:
        named = await client.infer(pixels(1, model_name="b"))
        unnamed = await client.infer(pixels(1, model_name=""))

    assert named.read(ModelInferResponse).model_name == "b"
    assert (unnamed.code, unnamed.details) == (
        StatusCode.NOT_FOUND,
        "no model '', served are: a, b",
    )
