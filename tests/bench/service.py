"""`make bench ARGS=service`: the whole service under clients that never rest, and its engine."""

from __future__ import annotations

import asyncio
import functools
import itertools
import statistics
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from service.api.v2.messages import HEADER_LENGTH
from service.config import Settings
from service.engines.base import Engine
from service.errors import EngineFailed
from service.images.contract import ImageLimits, InputContract
from service.images.decode import decode
from service.images.preprocess import preprocess
from service.store.load import LoadedModel
from tests.bench.entrants import Note
from tests.bench.loopback import Served, serving
from tests.bench.over_grpc import asking, message_of
from tests.bench.pictures import jpeg, scenery
from tests.bench.ratios import cost, over
from tests.bench.report import Label, Report, Row
from tests.bench.rounds import Clock, note_on_rounds, timed

REPLY_PATIENCE_S = 120.0

ALONE = "engine alone"
TENSOR, JPEG = "tensor", "jpeg"
TENSOR_GRPC = f"{TENSOR}, over gRPC"
MASKS_LAST, MASKS_ALL = f"{JPEG}, half with last masks", f"{JPEG}, half with all masks"
ATTRIBUTION = f"{JPEG}, half with attribution"


@dataclass(frozen=True, slots=True)
class Post:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Window:
    """What one window gave: images a second, and the median time of an image in seconds."""

    images_per_s: float
    median_s: float


def loads_for(model: LoadedModel) -> dict[str, tuple[Post, ...]]:
    """What the service is measured under, by name: what the clients post by turns."""
    side_px = model.manifest.input.size_px
    pixels = scenery(side_px, side_px).transpose(2, 0, 1).tobytes()
    tensor = Post(f"/v2/models/{model.manifest.name}/infer", {HEADER_LENGTH: "0"}, pixels)
    picture = jpeg(500, 375)
    plain, last, every, attributed = (
        Post(f"/v1/predict?{query}", {"Content-Type": "image/jpeg"}, picture)
        for query in (
            "",
            "masks=last&mask_format=npy",
            "masks=all&groups=mean&mask_format=npy",
            "attribution=top:5&mask_format=npy",
        )
    )
    return {
        TENSOR: (tensor,),
        JPEG: (plain,),
        MASKS_LAST: (plain, last),
        MASKS_ALL: (plain, every),
        ATTRIBUTION: (plain, attributed),
    }


Drive = Callable[[int, float, Clock], Coroutine[Any, Any, Window]]
"""Lets so many clients ask for a window of so many seconds."""


def drives_for(model: LoadedModel, served: Served) -> dict[str, Drive]:
    """What drives each load; what is compared comes one after the other."""
    over_http: dict[str, Drive] = {
        name: functools.partial(drive_load, served.address, posts)
        for name, posts in loads_for(model).items()
    }
    tensor = over_http.pop(TENSOR)
    over_grpc = functools.partial(drive_grpc, served.over_grpc, grpc_message_for(model))
    return {TENSOR: tensor, TENSOR_GRPC: over_grpc, **over_http}


def grpc_message_for(model: LoadedModel) -> bytes:
    """The pixels of the load of tensors, as a message of gRPC."""
    side_px = model.manifest.input.size_px
    pixels = scenery(side_px, side_px).transpose(2, 0, 1).tobytes()
    return message_of(model.manifest.name, pixels, side_px)


def bench_service(
    model: LoadedModel,
    settings: Settings,
    machine: Mapping[str, Any],
    note: Note,
    clock: Clock,
    *,
    clients: int,
    rounds: int,
    window_s: float,
) -> Report:
    """Measure the engine alone and the service around it, by turns.

    In each round the engine alone, with batches of `max_batch`, and every load have a window. So
    many clients post at any time.

    Raises:
        EngineFailed: the engine cannot run, or the service does not answer.
    """
    batch = settings.max_batch
    windows: dict[str, list[Window]] = {}
    with serving(model, settings.model_copy(update={"grpc_port": 0})) as served:
        engine = served.model.batcher.engine
        alone = engine_run(engine, batch, model.manifest.input)
        drives = drives_for(model, served)
        for number in range(rounds):
            note(f"round {number + 1} of {rounds}")
            on_device = served.on_device(run_alone, alone, batch, window_s, clock)
            windows.setdefault(ALONE, []).append(on_device)
            for name, drive in drives.items():
                window = asyncio.run(drive(clients, window_s, clock))
                windows.setdefault(name, []).append(window)
        ran = engine.description
    labels = {name: Label(ran.name, name, ran.precision, batch) for name in windows}
    rows = tuple(row_of_windows(labels[name], found) for name, found in windows.items())
    ratios = {
        "service_over_engine_tensor": over(rows, labels[TENSOR], labels[ALONE]),
        "service_over_engine_jpeg": over(rows, labels[JPEG], labels[ALONE]),
        "grpc_over_http_tensor": over(rows, labels[TENSOR_GRPC], labels[TENSOR]),
        "masks_last_cost": cost(rows, labels[MASKS_LAST], labels[JPEG]),
        "masks_all_cost": cost(rows, labels[MASKS_ALL], labels[JPEG]),
        "attribution_cost": cost(rows, labels[ATTRIBUTION], labels[JPEG]),
    }
    notes = (
        note_on_rounds(rows),
        f"{clients} clients over loopback, in the service's own process",
        f"a round is a window of {window_s:g} s",
        "times are a batch's for the engine alone, and a request's over HTTP or gRPC",
        f"'{TENSOR}': raw uint8 by the Open Inference Protocol, over HTTP or gRPC",
        f"'{JPEG}': pictures of 500x375",
        "last masks: every group of the last block; all masks: the mean of each block; as .npy",
        "attribution: of the 5 best classes; as .npy",
    )
    return Report(machine, rows, ratios, notes=notes)


def engine_run(engine: Engine, batch: int, contract: InputContract) -> Callable[[], object]:
    """A full batch through the engine, while what is around it rests."""
    limits = ImageLimits(encoded_bytes=2**30, pixels=2**30)
    row = preprocess(decode(jpeg(500, 375), limits, contract), contract)
    return lambda: engine.infer(engine.collate([row] * batch), frozenset())


def run_alone(run: Callable[[], object], batch: int, window_s: float, clock: Clock) -> Window:
    """Run one batch after the other for a window."""
    run()  # what the load before it left in the caches is not its business
    times: list[float] = []
    while sum(times) < window_s:
        times.append(timed(run, clock))
    return Window(batch * len(times) / sum(times), statistics.median(times))


async def drive_load(
    address: str, posts: Sequence[Post], clients: int, window_s: float, clock: Clock
) -> Window:
    """Let every client post again as soon as it is answered, for a window.

    Raises:
        EngineFailed: a request was not answered with 200, or too few were for a rate.
    """
    by_turns = itertools.cycle(posts)
    session = aiohttp.ClientSession(  # its parser is in C: what clients take, the service lacks
        address,
        connector=aiohttp.TCPConnector(limit=clients),
        timeout=aiohttp.ClientTimeout(total=REPLY_PATIENCE_S),
    )
    async with session:
        return await _drive(lambda _: _post(session, next(by_turns)), clients, window_s, clock)


async def drive_grpc(
    address: str, message: bytes, clients: int, window_s: float, clock: Clock
) -> Window:
    """Do the same over gRPC, with one message.

    Raises:
        EngineFailed: a call was not answered, or too few were for a rate.
    """
    async with asking(address, message, clients, REPLY_PATIENCE_S) as ask:
        return await _drive(ask, clients, window_s, clock)


async def _drive(
    ask: Callable[[int], Awaitable[None]], clients: int, window_s: float, clock: Clock
) -> Window:
    ends = clock() + window_s
    answered: list[tuple[float, float]] = []  # when, and after how long

    async def client(number: int) -> None:
        while (began := clock()) < ends:
            await ask(number)
            answered.append((clock(), clock() - began))

    try:
        async with asyncio.TaskGroup() as group:
            for number in range(clients):
                group.create_task(client(number))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures
    inside = [(moment, took) for moment, took in answered if moment <= ends]
    return window_of(inside, warm_up=clients)


async def _post(session: aiohttp.ClientSession, post: Post) -> None:
    async with session.post(post.path, data=post.body, headers=post.headers) as answer:
        content = await answer.read()
    if answer.status != 200:
        raise EngineFailed(f"the service answered {answer.status}: {content[:200]!r}")


def window_of(answered: Sequence[tuple[float, float]], warm_up: int) -> Window:
    """The rate of answers after the first `warm_up` of them, which found the service empty.

    Args:
        answered: of each answer the moment and how long it took, in seconds.
        warm_up: at least 1.

    Raises:
        EngineFailed: nothing is left after them.
    """
    ordered = sorted(answered)
    steady = ordered[warm_up:]
    if not steady:
        raise EngineFailed(
            f"{len(ordered)} answers in a window, more than {warm_up} are needed; make it longer"
        )
    seconds = steady[-1][0] - ordered[warm_up - 1][0]
    return Window(len(steady) / seconds, statistics.median(took for _, took in steady))


def row_of_windows(label: Label, windows: Sequence[Window]) -> Row:
    """The line of what was measured in one window a round."""
    return Row(
        label,
        rounds=tuple(window.images_per_s for window in windows),
        ms_p50=1000 * statistics.median(window.median_s for window in windows),
    )
