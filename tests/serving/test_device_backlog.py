"""One device for several models: who goes next, and how long what is inside will take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from service.engines.plan import EnginePlan
from service.errors import EngineLost, NotReady
from service.serving.batch_policy import Limits, Room, Run
from service.serving.batcher import Batcher
from service.serving.device_backlog import DeviceBacklog, DeviceShare
from service.serving.entry import Reply
from service.serving.worker_thread import WorkerThread
from tests.fakes import FakeTimer, GatedEngine, Record, row_of
from tests.running import Running, grey, running, tiny_model, until

FAR = 10_000.0
NOTHING = frozenset[str]()


def share_of(backlog: DeviceBacklog, pace_s: float, images: int = 0) -> DeviceShare:
    """A model that takes so long for an image, and has so many inside."""
    share = backlog.share(lambda: None, max_batch=1)
    share.times.add(Run(1, pace_s, 0.0))
    share.count_images(images, 2)
    return share


def test_the_backlog_is_the_work_of_every_model() -> None:
    """Two images of 3 s and ten of 0.1 s are seven seconds, for either model."""
    backlog = DeviceBacklog(lambda: 0.0)
    slow, fast = share_of(backlog, 3.0, images=2), share_of(backlog, 0.1, images=10)

    assert backlog.seconds == slow.backlog_s == fast.backlog_s == pytest.approx(7.0)


def test_what_has_run_of_a_batch_is_no_backlog() -> None:
    """A batch of two images of 3 s, begun 4 s ago, leaves 2 s; one that is overdue leaves none."""
    timer = FakeTimer()
    backlog = DeviceBacklog(timer.time)
    share = share_of(backlog, 3.0, images=2)
    share.begin([2] * 2)

    timer.advance(4)
    left_s = backlog.seconds
    timer.advance(4)

    assert left_s == pytest.approx(2.0)
    assert backlog.seconds == 0.0


def test_a_model_that_is_given_up_leaves_no_backlog() -> None:
    """Its images fail; the others do not wait for them."""
    backlog = DeviceBacklog(lambda: 0.0)
    slow, fast = share_of(backlog, 3.0, images=2), share_of(backlog, 0.1, images=10)

    slow.close()

    assert fast.backlog_s == pytest.approx(1.0)


def test_a_device_busy_with_another_model_is_not_idle() -> None:
    """One batch of whatever model leaves one slot, and two leave none."""
    backlog = DeviceBacklog(lambda: 0.0)
    one, other = share_of(backlog, 1.0), share_of(backlog, 1.0)

    rooms = [other.room]
    running = one.begin([2] * 4)
    rooms.append(other.room)
    one.begin([2] * 4)
    rooms.append(other.room)
    one.end(running)
    rooms.append(other.room)

    assert rooms == [Room.IDLE, Room.SLOT, Room.NONE, Room.SLOT]


def test_nobody_stacks_ahead_of_whom_has_waited_longer() -> None:
    """Else a model with full batches would keep one with few images waiting for ever."""
    backlog = DeviceBacklog(lambda: 0.0)
    busy, patient = share_of(backlog, 1.0), share_of(backlog, 1.0)
    busy.begin([2] * 4)
    patient.waiting_since, busy.waiting_since = 1.0, 2.0

    assert (patient.room, busy.room) == (Room.SLOT, Room.NONE)


def test_whom_has_waited_longest_advances_first() -> None:
    """When a batch comes back, the device is offered in the order of the oldest images."""
    advanced: list[str] = []
    backlog = DeviceBacklog(lambda: 0.0)
    late = backlog.share(lambda: advanced.append("late"), max_batch=1)
    early = backlog.share(lambda: advanced.append("early"), max_batch=1)
    late.waiting_since, early.waiting_since = 2.0, 1.0

    late.end(late.begin([2] * 1))

    assert advanced == ["early", "late"]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two models on one device, both behind gates."""

    slow: Batcher
    fast: Batcher
    slow_engine: GatedEngine
    fast_engine: GatedEngine
    timer: FakeTimer

    def submit(self, batcher: Batcher, *values: int) -> list[asyncio.Future[Reply]]:
        """Queue rows, a moment after those before."""
        self.timer.advance(0.001)
        return batcher.submit([row_of(value) for value in values], NOTHING, FAR)


def unreached(error: EngineLost) -> None:
    """No engine dies here."""
    raise error


@asynccontextmanager
async def pair(max_batch: int = 4) -> AsyncIterator[Pair]:
    """Run two batchers on one device."""
    timer, device = FakeTimer(), WorkerThread(unreached)
    backlog = DeviceBacklog(timer.time)
    engines = GatedEngine(), GatedEngine()
    with ThreadPoolExecutor(1) as collate_thread:
        slow, fast = (
            Batcher(
                engine,
                device,
                collate_thread,
                Limits(max_batch),
                backlog=backlog,
                timer=timer,
                observer=Record(),
            )
            for engine in engines
        )
        device.start()
        yield Pair(slow, fast, *engines, timer)
        await device.stop()


@pytest.mark.anyio
async def test_images_that_come_while_another_model_runs_travel_together() -> None:
    """The device is busy, so they form one batch, as the policy says for any busy device."""
    async with pair() as p:
        running = p.submit(p.slow, 1)
        await p.slow_engine.entered()
        together = [*p.submit(p.fast, 2), *p.submit(p.fast, 3), *p.submit(p.fast, 4)]
        p.slow_engine.open()
        batch = await p.fast_engine.entered()
        p.fast_engine.open()
        replies = await asyncio.gather(*running, *together)

    assert batch == (2, 3, 4)
    assert [reply.batch_size for reply in replies] == [1, 3, 3, 3]


@pytest.mark.anyio
async def test_a_model_with_full_batches_keeps_nobody_waiting() -> None:
    """One image of the fast model leaves before the batches that came after it."""
    async with pair(max_batch=2) as p:
        first = p.submit(p.slow, 1, 2)
        await p.slow_engine.entered()
        single = p.submit(p.fast, 9)
        later = p.submit(p.slow, 3, 4, 5, 6)
        p.slow_engine.open()
        next_batch = await p.fast_engine.entered()
        p.fast_engine.open()
        p.slow_engine.open(2)
        await asyncio.gather(*first, *single, *later)

    assert next_batch == (9,)
    assert [ran.values for ran in p.slow_engine.ran] == [(1, 2), (3, 4), (5, 6)]


@pytest.mark.anyio
async def test_each_deadline_is_held_against_the_pace_of_what_is_inside() -> None:
    """Five quick images inside refuse no slow one that will be in time; a slow one would."""
    engines = {"slow": GatedEngine(), "fast": GatedEngine()}
    plans = {name: EnginePlan(engine, engine) for name, engine in engines.items()}
    async with running(tiny_model("slow"), tiny_model("fast"), engines=plans) as service:
        for model in service.runtime.models:
            seconds = 10.0 if model.name == "slow" else 0.01
            model.batcher.share.times.add(Run(1, seconds, 0.0))

        async def post(name: str, seconds: float | None = None) -> int:
            headers = {} if seconds is None else {"X_Request_Deadline_Ms": f"{seconds * 1000:g}"}
            return (await service.predict(grey(1), f"model={name}", **headers)).status_code

        quick = [asyncio.ensure_future(post("fast")) for _ in range(5)]
        await engines["fast"].entered()
        slow = asyncio.ensure_future(post("slow", seconds=25))  # six images of 10 s are beyond it
        await until(lambda: are_inside(service, 6))
        refused = await post("fast", seconds=5)  # behind 10 s of the other model
        engines["fast"].open(5)
        engines["slow"].open()
        answered = await asyncio.gather(*quick, slow)

    assert refused == 504
    assert answered == [200] * 6


async def are_inside(service: Running, images: int) -> bool:
    """Whether so many images hold permits."""
    return service.runtime.admission.in_use == images


def test_every_model_gets_its_turn_whatever_becomes_of_anothers() -> None:
    """A fault in one queue is that queue's: the device does not stand idle for the others."""
    advanced: list[str] = []

    def fail() -> None:
        raise ArithmeticError

    backlog = DeviceBacklog(lambda: 0.0)
    broken = backlog.share(fail, max_batch=1)
    sound = backlog.share(lambda: advanced.append("sound"), max_batch=1)
    broken.waiting_since, sound.waiting_since = 1.0, 2.0

    with pytest.raises(ArithmeticError):
        broken.end(broken.begin([2] * 1))

    assert advanced == ["sound"]


@pytest.mark.anyio
async def test_a_model_that_is_given_up_leaves_nobody_waiting() -> None:
    """What it runs is answered, what waits or comes later fails at once, others go on."""
    async with pair() as p:
        running = p.submit(p.slow, 1)
        await p.slow_engine.entered()
        waiting = p.submit(p.slow, 2)
        other = p.submit(p.fast, 9)
        p.slow.close(NotReady("given up"))
        later = p.submit(p.slow, 3)
        p.slow_engine.open()
        p.fast_engine.open()
        answered = await asyncio.gather(*running, *other)
        failed = await asyncio.gather(*waiting, *later, return_exceptions=True)

    assert [int(reply.logits[0]) for reply in answered] == [1, 9]
    assert [str(error) for error in failed] == ["given up"] * 2
