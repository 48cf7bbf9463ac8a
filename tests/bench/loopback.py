"""`bench service`: the real application behind a real socket, under clients that never rest."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import queue
import socket
import statistics
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import uvicorn

from service.api.v2.messages import HEADER_LENGTH
from service.app import Hooks, create_app
from service.config import Settings
from service.engines.base import Engine
from service.errors import EngineFailed
from service.images.contract import ImageLimits, InputContract
from service.images.decode import decode
from service.images.preprocess import preprocess
from service.serving.runtime import build_runtime
from service.serving.served_model import ServedModel
from service.store.load import LoadedModel, StoreContents
from tests.bench.extra import import_extra
from tests.bench.pictures import jpeg, scenery
from tests.bench.ratios import cost, over
from tests.bench.report import Label, Machine, Report, Row
from tests.bench.rounds import Clock
from tests.bench.window import Window, window_of

T = TypeVar("T")

START_PATIENCE_S = 1800.0  # compiling every batch size of a large network
REPLY_PATIENCE_S = 120.0

ALONE = "engine alone"
TENSOR, JPEG = "http tensor", "http jpeg 500x375"
MASKS_LAST, MASKS_ALL = f"{JPEG}, half ask for last masks", f"{JPEG}, half ask for all masks"


@dataclass(frozen=True, slots=True)
class ServiceBench:
    """What to measure.

    Attributes:
        model: the model that is served.
        settings: of the service; `max_batch` is the batch of the engine alone, too.
        clients: requests under way at any time.
        rounds: in each of them the engine alone and every load have a window.
        window_s: how long each of these lasts.
    """

    model: LoadedModel
    settings: Settings
    clients: int
    rounds: int
    window_s: float


@dataclass(frozen=True, slots=True)
class Post:
    """One request: its path, a header and the body."""

    path: str
    header: tuple[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Load:
    """What the clients post, by turns."""

    name: str
    posts: tuple[Post, ...]


def loads_for(model: LoadedModel) -> tuple[Load, ...]:
    """What the service is measured under."""
    side_px = model.manifest.input.size_px
    pixels = scenery(side_px, side_px).transpose(2, 0, 1).tobytes()
    tensor = Post(f"/v2/models/{model.manifest.name}/infer", (HEADER_LENGTH, "0"), pixels)
    plain, last, every = (
        Post(f"/v1/predict?{query}", ("Content-Type", "image/jpeg"), jpeg(500, 375))
        for query in (
            "",
            "masks=last&mask_format=npy",
            "masks=all&groups=mean&mask_format=npy",
        )
    )
    return (
        Load(TENSOR, (tensor,)),
        Load(JPEG, (plain,)),
        Load(MASKS_LAST, (plain, last)),
        Load(MASKS_ALL, (plain, every)),
    )


def bench_service(
    wanted: ServiceBench, machine: Machine, note: Callable[[str], None], clock: Clock
) -> Report:
    """Measure the engine alone and the service around it, by turns.

    Raises:
        EngineFailed: the engine cannot run, or the service does not answer.
        BadSetting: the client's library is not installed.
    """
    import_extra("aiohttp")  # before minutes are spent on compiling
    contract = wanted.model.manifest.input
    loads = loads_for(wanted.model)
    windows: dict[str, list[Window]] = {name: [] for name in (ALONE, *(x.name for x in loads))}
    with serving(wanted.model, wanted.settings) as served:
        engine = served.model.batcher.engine
        alone = _engine_run(engine, wanted.settings.max_batch, contract)
        for number in range(wanted.rounds):
            note(f"round {number + 1} of {wanted.rounds}")
            windows[ALONE].append(served.on_device(run_alone, alone, wanted, clock))
            for load in loads:
                drive = drive_load(served.address, load, wanted, clock)
                windows[load.name].append(asyncio.run(drive))
        description = engine.description
    labels = {
        name: Label(description.name, name, description.precision, wanted.settings.max_batch)
        for name in windows
    }
    rows = tuple(_row(labels[name], found) for name, found in windows.items())
    return Report(machine, rows, _ratios(rows, labels), notes=_notes(wanted))


@dataclass(frozen=True, slots=True)
class Served:
    """A service that answers.

    Attributes:
        address: where.
        model: what answers.
        loop: on which it lives.
    """

    address: str
    model: ServedModel
    loop: asyncio.AbstractEventLoop

    def on_device(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function on the thread that runs the engine; on another one it is slower.

        Two teams of threads would share the cores (see `short_lived_thread`).
        """

        async def call() -> T:
            return (await self.model.device.run(function, *arguments)).result

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result()


@contextlib.contextmanager
def serving(model: LoadedModel, settings: Settings) -> Iterator[Served]:
    """Run the application on a thread of its own, until the end of the block.

    Raises:
        EngineFailed: the model's engine cannot run, or is not ready in half an hour.
    """
    outcome: queue.SimpleQueue[EngineFailed | asyncio.AbstractEventLoop] = queue.SimpleQueue()
    runtime = build_runtime(settings, StoreContents((model,), ()))
    hooks = Hooks(lambda: outcome.put(asyncio.get_running_loop()), outcome.put)
    app = create_app(runtime, hooks)
    server = uvicorn.Server(
        uvicorn.Config(app, log_config=None, access_log=False, lifespan="on", server_header=False)
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="server")
        thread.start()
        try:
            loop = _wait_until_ready(outcome)
            address = f"http://127.0.0.1:{listener.getsockname()[1]}"
            yield Served(address, next(iter(runtime.models)), loop)
        finally:
            server.should_exit = True
            thread.join()


def _wait_until_ready(
    outcome: queue.SimpleQueue[EngineFailed | asyncio.AbstractEventLoop],
) -> asyncio.AbstractEventLoop:
    try:
        came = outcome.get(timeout=START_PATIENCE_S)
    except queue.Empty as error:
        raise EngineFailed(f"the engine is not ready after {START_PATIENCE_S:g} s") from error
    if isinstance(came, EngineFailed):
        raise came
    return came


def _engine_run(engine: Engine, batch: int, contract: InputContract) -> Callable[[], object]:
    """A full batch through the engine, while the service rests."""
    limits = ImageLimits(encoded_bytes=2**30, pixels=2**30)
    row = preprocess(decode(jpeg(500, 375), limits, contract), contract)
    return lambda: engine.infer(engine.collate([row] * batch), frozenset())


def run_alone(run: Callable[[], object], wanted: ServiceBench, clock: Clock) -> Window:
    """Run one batch after the other for a window."""
    run()  # what the load before it left in the caches is not its business
    moments = [clock()]
    while moments[-1] - moments[0] < wanted.window_s:
        run()
        moments.append(clock())
    times = [end - start for start, end in itertools.pairwise(moments)]
    images = wanted.settings.max_batch * len(times)
    return Window(images / (moments[-1] - moments[0]), statistics.median(times))


async def drive_load(address: str, load: Load, wanted: ServiceBench, clock: Clock) -> Window:
    """Let every client post again as soon as it is answered, for a window.

    Raises:
        EngineFailed: a request was not answered with 200, or too few were for a rate.
    """
    posts = itertools.cycle(load.posts)
    ends = clock() + wanted.window_s
    answered: list[tuple[float, float]] = []  # when, and after how long

    async def client(session: Any) -> None:
        while (began := clock()) < ends:
            await _post(session, next(posts))
            answered.append((clock(), clock() - began))

    aiohttp = import_extra("aiohttp")  # its parser is in C: what clients take, the service lacks
    session = aiohttp.ClientSession(
        address,
        connector=aiohttp.TCPConnector(limit=wanted.clients),
        timeout=aiohttp.ClientTimeout(total=REPLY_PATIENCE_S),
    )
    try:
        async with session, asyncio.TaskGroup() as group:
            for _ in range(wanted.clients):
                group.create_task(client(session))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures
    inside = [(moment, took) for moment, took in answered if moment <= ends]
    return window_of(inside, warm_up=wanted.clients)


async def _post(session: Any, post: Post) -> None:
    async with session.post(post.path, data=post.body, headers=dict([post.header])) as answer:
        content = await answer.read()
    if answer.status != 200:
        raise EngineFailed(f"the service answered {answer.status}: {content[:200]!r}")


def _row(label: Label, windows: Sequence[Window]) -> Row:
    return Row(
        label,
        rounds=tuple(window.images_per_s for window in windows),
        ms_p50=1000 * statistics.median(window.median_s for window in windows),
    )


def _ratios(rows: Sequence[Row], labels: dict[str, Label]) -> dict[str, float | None]:
    ratio = functools.partial(over, rows)
    lost = functools.partial(cost, rows)
    return {
        "service_over_engine_tensor": ratio(labels[TENSOR], labels[ALONE]),
        "service_over_engine_jpeg": ratio(labels[JPEG], labels[ALONE]),
        "masks_last_cost": lost(labels[MASKS_LAST], labels[JPEG]),
        "masks_all_cost": lost(labels[MASKS_ALL], labels[JPEG]),
    }


def _notes(wanted: ServiceBench) -> tuple[str, ...]:
    return (
        f"{wanted.clients} clients over loopback, in the service's own process",
        f"median of {wanted.rounds} interleaved windows of {wanted.window_s:g} s, of ratios too",
        "times are a batch's for the engine alone, and a request's over HTTP",
        f"'{TENSOR}': raw uint8 by the Open Inference Protocol",
        "last masks: every group of the last block; all masks: the mean of each block; as .npy",
    )
