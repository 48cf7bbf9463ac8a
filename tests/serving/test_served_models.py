"""The life of engines: loading, taking over, falling back."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch

from service.config import Settings
from service.engines.eager import EagerEngine
from service.engines.plan import EnginePlan
from service.errors import EngineFailed
from service.model.resnet import SgeResNet
from service.serving.runtime import build_runtime
from service.store.load import StoreContents
from service.store.reference import ReferenceNetwork
from tests.fakes import FakeEngine, GatedEngine
from tests.running import grey, running, tiny_model, until
from tests.store_fixtures import TINY, random_network

pytestmark = pytest.mark.anyio


class Unbuildable(FakeEngine):
    """An engine that cannot run on any machine."""

    def load(self) -> None:
        """Fail."""
        raise OSError("no C++ compiler")


async def test_a_loading_model_is_alive_but_not_ready() -> None:
    """Until the first engine has run, requests get 503 and readiness says why."""

    class Slow(GatedEngine):
        def warm_up_sizes(self, max_batch: int) -> list[int]:
            return [1]

    engine = Slow()
    async with running(engine=engine, is_awaited=False) as service:
        await engine.entered()
        alive = await service.client.get("/healthz")
        ready = await service.client.get("/readyz")
        refused = await service.predict(grey(1))
        engine.open(2)
        await service.ready

    assert (alive.status_code, ready.status_code, refused.status_code) == (200, 503, 503)
    assert ready.json()["models"]["tiny/1"]["tier"] == "loading"
    assert refused.json()["error"]["message"] == "tiny/1 is loading"


async def test_what_was_built_before_answers_from_the_first_moment() -> None:
    """The quick engine is not even loaded then."""
    first, final = Unbuildable(), FakeEngine()
    async with running(engines=EnginePlan(first, final, load_kept=lambda: True)) as service:
        tier = await service.tier()

    assert tier == "final"


def nothing_sound() -> bool:
    """A package that is damaged."""
    return False


def nothing_that_loads() -> bool:
    """A package of code that this machine cannot load."""
    raise OSError("undefined symbol")


@pytest.mark.parametrize("load_kept", [nothing_sound, nothing_that_loads])
async def test_a_damaged_artefact_makes_no_start_slower_than_one_without_it(
    load_kept: Callable[[], bool],
) -> None:
    """The quick engine answers while it is built anew, and then the new one does."""
    first, final = FakeEngine(), GatedEngine()
    final.warm_up_sizes = lambda max_batch: [1]  # type: ignore[method-assign]
    plan = EnginePlan(first, final, load_kept=load_kept)
    async with running(engines=plan) as service:
        answered = await service.predict(grey(1))
        tier = await service.tier()
        await final.entered()
        final.open(2)
        await service.built.wait()
        rebuilt = await service.tier()

    assert (answered.status_code, tier, rebuilt) == (200, "first", "final")


async def test_the_final_engine_takes_over_without_failing_a_request() -> None:
    """While it is built the first one answers; afterwards it does."""
    first, final = FakeEngine(), GatedEngine()
    final.warm_up_sizes = lambda max_batch: [1]  # type: ignore[method-assign]
    async with running(engines=EnginePlan(first, final)) as service:
        await final.entered()
        before = await service.predict(grey(1))
        tiers = [await service.tier()]
        final.open(10)
        await service.built.wait()
        tiers.append(await service.tier())
        after = await service.predict(grey(2))

    assert (before.status_code, after.status_code, tiers) == (200, 200, ["first", "final"])
    assert (len(first.ran), first.is_closed) == (2 + 1, True)  # two of the warm-up
    assert final.ran[-1].values == (2,)


async def test_the_end_of_building_is_told() -> None:
    """When every model has the engine that stays."""
    plan = EnginePlan(FakeEngine(), FakeEngine())
    runtime = build_runtime(Settings(), StoreContents((tiny_model(),), ()), lambda *_: plan)
    built = asyncio.Event()

    await runtime.models.start(on_built=built.set)
    await built.wait()

    assert [model.tier for model in runtime.models] == ["final"]
    await runtime.models.stop()


async def test_one_copy_of_the_weights_stays_once_the_final_engine_serves() -> None:
    """Neither what the store read nor what the quick engine made of it is in memory then."""
    read = partial(random_network, SgeResNet, TINY)
    model = replace(tiny_model(), reference=ReferenceNetwork(read(), read))
    quick = EagerEngine(model, torch.device("cpu"), "fp32")
    plan = EnginePlan(quick, FakeEngine())
    runtime = build_runtime(Settings(), StoreContents((model,), ()), lambda *_: plan)
    built = asyncio.Event()
    reference = weakref.ref(model.network)

    await runtime.models.start(on_built=built.set)
    graph = weakref.ref(quick.graph)
    await built.wait()

    assert (reference(), graph()) == (None, None)
    await runtime.models.stop()


async def test_an_engine_that_cannot_be_built_is_fallen_back_from_in_the_open() -> None:
    """The first engine stays, and readiness, model and metrics say so, with the reason."""
    async with running(engines=EnginePlan(FakeEngine(), Unbuildable())) as service:
        await service.built.wait()
        reply = await service.predict(grey(1))
        engine = (await service.client.get("/v1/models/tiny")).json()["engine"]
        counted = await service.metric('sge_engine_fallbacks_total{model="tiny",version="1"}')

    assert (engine["tier"], reply.status_code, counted) == ("fallback", 200, 1)
    assert engine["fallback_reason"] == "the engine raised OSError: no C++ compiler"


async def test_the_next_engine_of_a_plan_is_tried() -> None:
    """Where the final engine cannot be built another one takes over, and that is told."""
    second = FakeEngine()
    plan = EnginePlan(FakeEngine(), Unbuildable(), (second,))
    async with running(engines=plan) as service:
        await service.built.wait()
        tier = await service.tier()
        reply = await service.predict(grey(1))
        counted = await service.metric('sge_engine_fallbacks_total{model="tiny",version="1"}')

    assert (tier, reply.status_code, counted) == ("fallback", 200, 1)
    assert second.ran[-1].values == (1,)


async def test_an_engine_asked_for_by_name_is_not_replaced() -> None:
    """Where it cannot be built its model is given up, and the service with the last model."""
    plan = EnginePlan(FakeEngine(), Unbuildable(), may_fall_back=False)
    async with running(engines=plan) as service:
        lost = await service.lost
        reply = await service.predict(grey(1))
        metrics = (await service.client.get("/metrics")).text

    assert lost.message == "the engine raised OSError: no C++ compiler"
    assert reply.status_code == 404
    assert 'sge_queue_depth{model="tiny"' not in metrics


async def test_a_final_engine_that_does_not_start_has_a_spare() -> None:
    """Where the final engine is the first too, the plan's next one answers instead of it."""
    broken, spare = Unbuildable(), FakeEngine()
    async with running(engines=EnginePlan(broken, broken, (spare,))) as service:
        tier = await service.tier()
        reply = await service.predict(grey(1))

    assert (tier, reply.status_code) == ("fallback", 200)
    assert (1,) in [ran.values for ran in spare.ran]


async def test_a_model_whose_engine_cannot_run_does_not_stop_the_others() -> None:
    """It is reported by name as a broken version is, and the healthy model answers."""
    broken = Unbuildable()
    engines = {"b": EnginePlan(broken, broken)}
    async with running(tiny_model("a"), tiny_model("b"), engines=engines) as service:
        healthy = await service.predict(grey(1), "model=a")
        refused = await service.predict(grey(1), "model=b")
        ready = await service.client.get("/readyz")
        counted = await service.metric("sge_broken_versions")

    assert (healthy.status_code, refused.status_code, ready.status_code) == (200, 404, 200)
    assert ready.json()["broken"] == {"b/1": "the engine raised OSError: no C++ compiler"}
    assert (list(ready.json()["models"]), counted) == (["a/1"], 1)


async def test_a_service_without_any_engine_says_so() -> None:
    """When the last model is given up the start fails with its reason."""
    with pytest.raises(EngineFailed, match="no C\\+\\+ compiler"):
        async with running(engine=Unbuildable()):
            pass


async def test_a_build_that_ends_its_thread_is_a_fallback_of_one_model() -> None:
    """The next model's final engine is built on a new thread."""

    class Deadly(FakeEngine):
        def load(self) -> None:
            raise SystemExit

    engines = {
        "a": EnginePlan(FakeEngine(), Deadly()),
        "b": EnginePlan(FakeEngine(), FakeEngine()),
    }
    async with running(tiny_model("a"), tiny_model("b"), engines=engines) as service:
        await service.built.wait()
        tiers = [model.tier for model in service.runtime.models]
        replies = [await service.predict(grey(1), f"model={name}") for name in "ab"]

    assert tiers == ["fallback", "final"]
    assert [reply.status_code for reply in replies] == [200, 200]


async def test_a_first_engine_that_cannot_be_closed_harms_nobody() -> None:
    """The final one answers by then, though the thread that builds has died."""

    class Clinging(FakeEngine):
        def close(self) -> None:
            raise SystemExit

    plan = EnginePlan(Clinging(), FakeEngine(), may_fall_back=False)
    async with running(engines=plan) as service:
        await service.built.wait()
        tier = await service.tier()
        reply = await service.predict(grey(1))

    assert (tier, reply.status_code, service.lost.done()) == ("final", 200, False)


@pytest.mark.parametrize("may_fall_back", [True, False])
async def test_an_engine_that_is_given_up_is_closed_beside_the_event_loop(
    *, may_fall_back: bool
) -> None:
    """A GPU may let whoever closes it wait."""
    threads: list[threading.Thread] = []

    class Watched(Unbuildable):
        def close(self) -> None:
            threads.append(threading.current_thread())

    plan = EnginePlan(FakeEngine(), Watched(), may_fall_back=may_fall_back)
    async with running(engines=plan) as service:
        await service.built.wait()

    assert [thread.name for thread in threads] == ["builder"]


async def test_a_ready_batch_does_not_wait_for_decodes() -> None:
    """With every worker decoding, what is queued is still stacked and run."""
    engine, gate = GatedEngine(), threading.Event()
    async with running(engine=engine, decode_workers=1) as service:
        first = asyncio.ensure_future(service.predict(grey(1)))
        await engine.entered()
        second = asyncio.ensure_future(service.predict(grey(2)))
        await until(lambda: service.has_queued(1))
        service.runtime.workers.submit(gate.wait)
        engine.open(2)
        ran = await engine.entered()
        gate.set()
        replies = await asyncio.gather(first, second)

    assert ran == (2,)
    assert [reply.status_code for reply in replies] == [200, 200]


async def test_the_threads_of_a_forward_pass_are_as_set() -> None:
    """`SGE_THREADS` bounds torch on the device's thread."""
    async with running(threads=1) as service:
        await service.predict(grey(1))
        on_device = await service.runtime.models._device.run(torch.get_num_threads)

    assert on_device.result == 1
