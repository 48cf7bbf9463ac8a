"""Engines that die under a running service, and how they come back."""

from __future__ import annotations

import asyncio
import re

import pytest

from service.engines.base import EngineOutputs
from service.engines.plan import EnginePlan
from service.errors import EngineLost
from tests.fakes import FakeEngine, GatedEngine, SlowEngine
from tests.running import Running, grey, running, until

pytestmark = pytest.mark.anyio


class Weak(FakeEngine):
    """An engine that runs until it has died once."""

    def infer(self, batch: tuple[int, ...], extras: frozenset[str]) -> EngineOutputs:
        """Refuse everything after a crash."""
        if any(self.lethal & set(ran.values) for ran in self.ran):
            raise OSError("it stays broken")
        return super().infer(batch, extras)


async def test_the_service_survives_the_crash_of_its_engine() -> None:
    """The image on board fails, readiness goes and comes back, the next image is answered."""
    engine = FakeEngine(lethal=[9])
    async with running(engine=engine) as service:
        lost = await service.predict(grey(9))
        await until(service.is_ready)
        answered = await service.predict(grey(1))
        restarts = await service.metric("sge_engine_restarts_total")

    assert (lost.status_code, lost.json()["error"]["code"]) == (500, "engine_lost")
    assert (answered.status_code, restarts) == (200, 1)


@pytest.mark.parametrize("how", ["lethal", "device_loss"])
async def test_a_crash_is_seen_and_counted(how: str) -> None:
    """Whether the thread ends or the device is lost: not ready, one crash, one restart."""
    engine = FakeEngine(**{how: [9]})
    async with running(engine=engine) as service:
        await service.predict(grey(9))
        await until(service.is_ready)
        answered = await service.predict(grey(1))
        crashes = await service.metric("sge_engine_crashes_total")
        restarts = await service.metric("sge_engine_restarts_total")

    assert (answered.status_code, crashes, restarts) == (200, 1, 1)


async def test_a_hung_forward_pass_is_a_crash() -> None:
    """Its image fails at the time-out, and the next one is answered on a new thread."""
    engine = GatedEngine()
    async with running(engine=engine, hang_timeout_s=0.3) as service:
        lost = await service.predict(grey(1))
        await until(service.is_ready)
        engine.open(2)
        answered = await service.predict(grey(2))
        crashes = await service.metric("sge_engine_crashes_total")

    assert (lost.status_code, lost.json()["error"]["code"]) == (500, "engine_lost")
    assert (answered.status_code, crashes) == (200, 1)


async def test_a_device_that_the_builder_finds_lost_is_lost_for_the_first_engine_too() -> None:
    """It is tried at once: nobody has to send a request to find out."""
    first = FakeEngine()

    class Losing(SlowEngine):
        def load(self) -> None:
            super().load()
            first.device_loss = {0}  # the pixels of every warm-up
            raise EngineLost("every call on the device fails")

    final = Losing()
    async with running(engines=EnginePlan(first, final)) as service:
        service.runtime.models.revival.backoff_s = (0.0,)
        final.may_load.set()
        lost = await service.lost
        ready = await service.client.get("/readyz")

    assert lost.message == "the engine crashed, and 1 restarts of it have failed"
    assert ready.status_code == 503


async def test_an_engine_that_stays_broken_is_told() -> None:
    """After the last attempt the service says so, for a new process to take its place."""
    async with running(engine=Weak(lethal=[9])) as service:
        service.runtime.models.revival.backoff_s = (0.0, 0.0)
        await service.predict(grey(9))
        lost = await service.lost
        refused = await service.predict(grey(1))
        restarts = await service.metric("sge_engine_restarts_total")

    assert lost.message == "the engine crashed, and 2 restarts of it have failed"
    assert (refused.status_code, restarts) == (503, 2)


async def test_a_crash_while_the_final_engine_is_built_harms_neither() -> None:
    """The first engine comes back and answers, and the final one takes over when it is built."""
    first, final = FakeEngine(lethal=[9]), SlowEngine()
    async with running(engines=EnginePlan(first, final)) as service:
        await asyncio.to_thread(final.is_loading.wait)
        lost = await service.predict(grey(9))
        await until(lambda: service.has_tier("first"))
        between = await service.predict(grey(1))
        final.may_load.set()
        await service.built.wait()
        after = await service.predict(grey(2))

    assert [reply.status_code for reply in (lost, between, after)] == [500, 200, 200]
    assert (first.ran[-1].values, final.ran[-1].values) == ((1,), (2,))


async def test_a_final_engine_built_while_the_first_is_down_waits_for_the_restart() -> None:
    """Nobody is told that the model answers before its thread does."""
    first, final = Weak(lethal=[9]), SlowEngine()
    async with running(engines=EnginePlan(first, final)) as service:
        service.runtime.models.revival.backoff_s = (0.0, 0.2)
        await asyncio.to_thread(final.is_loading.wait)
        await service.predict(grey(9))
        await until(lambda: has_restarted(service))
        final.may_load.set()
        await until(lambda: service.has_tier("final"))
        answered = await service.predict(grey(2))

    assert (answered.status_code, service.lost.done()) == (200, False)


async def has_restarted(service: Running) -> bool:
    """Whether an attempt to bring the engine back was made."""
    return await service.metric("sge_engine_restarts_total") > 0


async def test_an_engine_that_hangs_again_is_given_up_after_one_more_time_out() -> None:
    """Its passes hang, and so do the attempts to warm it up: the service ends, and soon."""
    engine = GatedEngine()
    async with running(engine=engine, hang_timeout_s=0.2) as service:
        engine.warm_up_sizes = lambda max_batch: [1]  # type: ignore[method-assign]
        hung = await service.predict(grey(1))
        lost = await asyncio.wait_for(service.lost, 60)
        engine.open(10)  # lets the threads that were left behind end

    assert hung.json()["error"]["code"] == "engine_lost"
    assert re.fullmatch(r"the engine crashed, and \d restarts of it have failed", lost.message)
