"""Predictions over HTTP: every kind of body, every kind of mask, every kind of refusal."""

from __future__ import annotations

import asyncio
import base64
import io

import httpx
import numpy as np
import pytest
import torch
from PIL import Image

from service.model.graph import InferenceGraph
from tests.fakes import FakeEngine, GatedEngine
from tests.running import PNG, grey, noise, png_of, running, tiny_bundle

pytestmark = pytest.mark.anyio


def reference(image: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Scores and gates of every block, straight from the network."""
    bundle = tiny_bundle()
    contract, network = bundle.manifest.input, bundle.network
    graph = InferenceGraph(network, contract.mean, contract.std)
    names = [block.name for block in network.spec.blocks()]
    pixels = torch.from_numpy(image.transpose(2, 0, 1).copy()).unsqueeze(0)
    with torch.inference_mode():
        logits, similarities = graph(pixels, names)
        gates = {name: network.sge_of(name).gates(n)[0].numpy() for name, n in similarities.items()}
        return logits.softmax(1)[0].numpy(), gates


def scores_of(reply: httpx.Response, image: int = 0) -> np.ndarray:
    """The scores of one image by class."""
    predictions = reply.json()["results"][image]["predictions"]
    return np.array([p["score"] for p in sorted(predictions, key=lambda p: p["index"])])


async def test_bytes_are_classified() -> None:
    """The scores are those of the network itself, with labels, best first."""
    image = noise(1)
    async with running() as service:
        reply = await service.predict(png_of(image), "top_k=3")

    scores, _ = reference(image)
    body = reply.json()
    assert reply.status_code == 200
    np.testing.assert_allclose(scores_of(reply), scores, atol=1e-5)  # float32 and batch effects
    best = body["results"][0]["predictions"][0]
    assert best["label"] == ("cat", "dog", "gnu")[int(scores.argmax())]
    assert body["model"] == {"name": "tiny", "version": "1"}
    assert (body["batch_size"], body["engine"]) == (1, "eager")
    assert "masks" not in body["results"][0]


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
        np.testing.assert_allclose(scores_of(reply, 0), scores_of(alone[0]), atol=1e-5)
        np.testing.assert_allclose(scores_of(reply, 1), scores_of(alone[1]), atol=1e-5)


async def test_masks_are_the_gates_of_the_same_pass() -> None:
    """All blocks come in the network's order, each with the gates the network used."""
    image = noise(3)
    async with running() as service:
        reply = await service.predict(png_of(image), "masks=all")

    _, gates = reference(image)
    masks = reply.json()["results"][0]["masks"]
    assert [mask["block"] for mask in masks] == list(gates)
    for mask in masks:
        expected = gates[mask["block"]]
        assert (mask["height"], mask["width"]) == expected.shape[1:]
        assert mask["groups"] == list(range(8))
        np.testing.assert_allclose(np.array(mask["data"]), expected, atol=1e-5)


async def test_masks_come_as_npy() -> None:
    """The file holds the same numbers as float32."""
    image = png_of(noise(3))
    async with running() as service:
        lists = await service.predict(image, "masks=last&mask_kind=similarity")
        file = await service.predict(image, "masks=last&mask_kind=similarity&mask_format=npy")

    mask = file.json()["results"][0]["masks"][0]
    array = np.load(io.BytesIO(base64.b64decode(mask["data"])))
    assert (array.dtype, mask["kind"]) == (np.float32, "similarity")
    np.testing.assert_allclose(array, lists.json()["results"][0]["masks"][0]["data"], atol=1e-6)


@pytest.mark.parametrize(
    ("form", "size", "mode"), [("png", (2, 2), "L"), ("overlay", (32, 32), "RGB")]
)
async def test_masks_come_as_pictures(form: str, size: tuple[int, int], mode: str) -> None:
    """One picture a group: as small as the mask, or laid over what the model saw."""
    async with running() as service:
        reply = await service.predict(png_of(noise(3)), f"masks=last&groups=2,5&mask_format={form}")

    mask = reply.json()["results"][0]["masks"][0]
    pictures = [Image.open(io.BytesIO(base64.b64decode(image))) for image in mask["images"]]
    assert mask["groups"] == [2, 5]
    assert [(picture.size, picture.mode) for picture in pictures] == [(size, mode)] * 2


async def test_times_and_ids_come_with_the_answer() -> None:
    """The request id is the client's own, the phases stand in body and header."""
    async with running() as service:
        reply = await service.predict(grey(1), x_request_id="tell-me-apart")
        made = await service.predict(grey(1), x_request_id="not\tprintable")

    timing = reply.json()["timing_ms"]
    assert reply.headers["x-request-id"] == reply.json()["request_id"] == "tell-me-apart"
    assert len(made.headers["x-request-id"]) == 32
    assert list(timing) == ["decode", "queue", "infer", "postprocess", "total"]
    assert reply.headers["server-timing"].startswith(f"decode;dur={timing['decode']}, queue;")
    assert timing["infer"] <= timing["total"]


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


async def test_mask_pictures_are_bounded() -> None:
    """Pictures are counted over images, blocks and groups; numbers are not pictures."""
    async with running(mask_pictures=8) as service:
        most = await service.predict(grey(1), "masks=last&mask_format=png")
        one_more = await service.predict(grey(1), "masks=stage3,last&mask_format=overlay")
        mean = await service.predict(grey(1), "masks=all&groups=mean&mask_format=png")
        numbers = await service.predict(grey(1), "masks=all")

    replies = (most, one_more, mean, numbers)
    assert [reply.status_code for reply in replies] == [200, 422, 200, 200]
    assert one_more.json()["error"]["message"].startswith("16 mask pictures asked for")


async def test_a_broken_image_among_several_is_named() -> None:
    """A request is answered whole or not at all, and the error says which image is broken."""
    async with running(engine=FakeEngine()) as service:
        reply = await service.client.post(
            "/v1/predict", files=[("a", ("a", grey(1))), ("a", ("b", b"broken"))]
        )

    assert reply.status_code == 400
    assert reply.json()["error"]["message"].startswith("image 1 of 0 to 1: ")


async def test_broken_images_do_not_disturb_their_neighbours() -> None:
    """Of 32 clients at once, one in eight broken, each gets what it would get alone."""
    images = [png_of(noise(seed)) for seed in range(32)]
    async with running() as service:
        alone = [scores_of(await service.predict(image, "top_k=3")) for image in images]
        sent = [b"broken" if i % 8 == 0 else image for i, image in enumerate(images)]
        replies = await asyncio.gather(*(service.predict(image, "top_k=3") for image in sent))

    broken, good = replies[::8], [i for i in range(32) if i % 8]
    assert [reply.status_code for reply in broken] == [400] * 4
    for i in good:
        np.testing.assert_allclose(scores_of(replies[i]), alone[i], atol=1e-5)
    assert max(reply.json()["batch_size"] for reply in (replies[i] for i in good)) > 1


async def test_one_image_too_many_is_refused() -> None:
    """With every permit taken the answer is 429 at once, and says when to come again."""
    engine = GatedEngine()
    async with running(engine=engine, queue_limit=2, max_batch=1) as service:
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


async def test_unknown_paths_have_the_same_kind_of_error() -> None:
    """404 and 405 come in the service's own form."""
    async with running(engine=FakeEngine()) as service:
        missing = await service.client.get("/v3/predict")
        wrong = await service.client.get("/v1/predict")

    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")
