"""A whole service in the test's own event loop, over a tiny model or an engine that is steered."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

import httpx
import numpy as np
from fastapi import FastAPI
from numpy.typing import NDArray
from PIL import Image
from starlette.types import Message, Receive

from service.app import Hooks, create_app
from service.config import Settings
from service.engines.base import Engine
from service.engines.calibration import image_limits
from service.engines.plan import EnginePlan, plan_engines
from service.errors import EngineFailed
from service.serving.arrival import VersionSource
from service.serving.decode_workers import DecodeHere, Decoder
from service.serving.memory_room import Memory
from service.serving.runtime import Runtime, build_runtime
from service.serving.timer import Timer
from service.store.load import LoadedModel, StoreContents
from service.store.manifest import Hashes, Manifest
from service.store.reference import ReferenceNetwork
from service.tracing.tracer import Tracer
from tests.store_fixtures import LABELS, new_tiny_version, tiny_network

PNG = {"Content-Type": "image/png"}


def tiny_model(name: str = "tiny", version: str = "1") -> LoadedModel:
    """The tiny network as the store would give it."""
    new = new_tiny_version()
    manifest = Manifest(
        name=name,
        version=version,
        architecture=new.network.spec.architecture,
        stem=new.network.spec.stem,
        groups=new.network.spec.groups,
        classes=new.network.spec.classes,
        input=new.input,
        sha256=Hashes(weights="0" * 64, labels="0" * 64),
        licence=new.licence,
        source=new.source,
    )
    return LoadedModel(manifest, LABELS, ReferenceNetwork(tiny_network(), tiny_network))


def png_of(image: NDArray[np.uint8]) -> bytes:
    """Encode (H, W, 3) or (H, W) uint8 without loss."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def noise(seed: int, side_px: int = 32) -> NDArray[np.uint8]:
    """An image of noise, (S, S, 3) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (side_px, side_px, 3), np.uint8)


def grey(value: int) -> bytes:
    """A PNG whose every pixel holds one value, by which a fake engine distinguishes images."""
    return png_of(np.full((32, 32, 3), value, np.uint8))


def scores_of(reply: httpx.Response, image: int = 0) -> NDArray[np.float64]:
    """The scores of one image by class."""
    predictions = reply.json()["results"][image]["predictions"]
    return np.array([p["score"] for p in sorted(predictions, key=lambda p: p["index"])])


POST_PNG = {
    "type": "http",
    "method": "POST",
    "path": "/v1/predict",
    "raw_path": b"/v1/predict",
    "query_string": b"",
    "headers": [(b"content-type", b"image/png"), (b"inference-header-content-length", b"0")],
    "http_version": "1.1",
    "scheme": "http",
    "server": ("service", 80),
    "client": ("127.0.0.1", 1),
}


@dataclass(frozen=True, slots=True)
class Running:
    """A service that runs, and a client that talks to it.

    Attributes:
        ready: done when every model answers, or none can.
        built: set when nothing is being built any more.
        lost: why the engine could not be brought back, done once that is so.
        grpc: where gRPC is served, if it is.
    """

    app: FastAPI
    client: httpx.AsyncClient
    runtime: Runtime
    ready: asyncio.Future[None]
    built: asyncio.Event
    lost: asyncio.Future[EngineFailed]
    grpc: list[str] = field(default_factory=list)

    async def predict(self, image: bytes, query: str = "", **headers: str) -> httpx.Response:
        """Post an image's bytes."""
        sent = PNG | {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.post(f"/v1/predict?{query}", content=image, headers=sent)

    async def converse(self, receive: Receive, path: str = "/v1/predict") -> httpx.Response:
        """Post a PNG whose bytes, and whose client's leaving, come as `receive` says."""
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        scope = POST_PNG | {"path": path, "raw_path": path.encode()}
        await self.app(scope, receive, send)
        head, *body = sent
        content = b"".join(message["body"] for message in body)
        return httpx.Response(head["status"], headers=head["headers"], content=content)

    async def metric(self, line: str) -> float:
        """The value of one line of `/metrics`; 0 where it is not there."""
        text = (await self.client.get("/metrics")).text
        found = [row.rpartition(" ") for row in text.splitlines() if row.startswith(f"{line} ")]
        return sum(float(value) for _, _, value in found)

    async def is_ready(self) -> bool:
        """Whether requests may be sent."""
        return (await self.client.get("/readyz")).status_code == 200

    async def tier(self) -> str:
        """Where the engine of the model stands."""
        tier: str = (await self.client.get("/v1/models/tiny")).json()["engine"]["tier"]
        return tier

    async def has_tier(self, tier: str) -> bool:
        """Whether the engine of the model stands there."""
        return await self.tier() == tier

    async def has_queued(self, images: int) -> bool:
        """Whether so many images of the model wait for a batch."""
        return await self.metric('sge_queue_depth{model="tiny",version="1"}') == images


async def until(claim: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something becomes true; the test's time-out bounds it."""
    while not await claim():
        await asyncio.to_thread(lambda: None)  # lets the engine's threads have their turn


@asynccontextmanager
async def running(
    *models: LoadedModel,
    engine: Engine | None = None,
    engines: EnginePlan
    | Mapping[str, EnginePlan]
    | Callable[[LoadedModel], EnginePlan]
    | None = None,
    is_awaited: bool = True,
    decoder: Decoder | Literal["processes"] | None = None,
    source: VersionSource | None = None,
    timer: Timer | None = None,
    memory: Memory | None = None,
    tracer: Tracer | None = None,
    **settings: object,
) -> AsyncIterator[Running]:
    """Run a service of the given models, by default of `tiny`, on the eager engine.

    Args:
        models: the models.
        engine: serves them in place of the eager engine.
        engines: a first and a final one in place of it, for all models, by name, or for each anew.
        is_awaited: return only when every model answers.
        decoder: in place of one in this process; `processes` as a service has them.
        source: of further versions, in place of the store.
        timer: rings for looks at it.
        memory: of the machine.
        tracer: makes spans; there are none otherwise.
        settings: whatever shall differ from the defaults.
    """
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    lost: asyncio.Future[EngineFailed] = loop.create_future()
    built = asyncio.Event()

    def plan(loaded: LoadedModel, settings: Settings) -> EnginePlan:
        if engine:
            return EnginePlan(engine, engine)
        if callable(engines):
            return engines(loaded)
        steered = engines.get(loaded.manifest.name) if isinstance(engines, Mapping) else engines
        return steered or plan_engines(loaded, settings)

    chosen = Settings(**({"engine": "eager", "device": "cpu", "precision": "fp32"} | settings))  # type: ignore[arg-type]
    contents = StoreContents(models or (tiny_model(),), ())
    if decoder is None:
        decoder = DecodeHere(image_limits(chosen))
    runtime = build_runtime(
        chosen,
        contents,
        plan,
        None if decoder == "processes" else decoder,
        source=source,
        timer=timer,
        memory=memory,
        tracer=tracer,
    )
    grpc: list[str] = []
    hooks = Hooks(
        lambda: ready.set_result(None),
        ready.set_exception,
        lost.set_result,
        built.set,
        grpc.append,
    )
    app = create_app(runtime, hooks)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://service") as client,
    ):
        if is_awaited:
            await ready
        yield Running(app, client, runtime, ready, built, lost, grpc)
