"""Versions that do not run, that nobody wants, and changes that meet each other."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from service.engines.plan import EnginePlan
from service.errors import EngineFailed, NotLoaded, UnknownModel
from service.serving.version_states import NOT_WANTED, VersionState
from service.store.load import LoadedModel
from tests.fakes import FakeEngine, GatedEngine, SlowEngine
from tests.running import grey, running, tiny_model, until
from tests.serving.test_versions import Unbuildable, has_let_go, states, version_of
from tests.serving.version_shelf import Engines, Shelf

pytestmark = pytest.mark.anyio


async def test_a_version_whose_engine_cannot_be_built_does_not_replace_one_that_was() -> None:
    """By a slower engine: the old version serves on, and the load has failed."""
    shelf = Shelf()
    shelf.put(1, 2)

    def plan(loaded: LoadedModel) -> EnginePlan:
        final = FakeEngine() if loaded.key == "tiny/1" else Unbuildable()
        return EnginePlan(FakeEngine(), final)

    async with running(source=shelf, engines=plan) as service:
        await service.built.wait()
        with pytest.raises(NotLoaded, match=r"tiny/2: .*no C\+\+ compiler"):
            await service.runtime.versions.load("tiny")
        tier, reply = await service.tier(), await service.predict(grey(1))

    assert (tier, version_of(reply)) == ("final", 1)


async def test_where_no_version_has_the_engine_that_was_asked_for_a_new_one_needs_none() -> None:
    """A machine without a compiler takes new versions as it took the first."""
    shelf = Shelf()
    shelf.put(1, 2)
    async with running(
        source=shelf, engines=lambda _: EnginePlan(FakeEngine(), Unbuildable())
    ) as service:
        await service.built.wait()
        await service.runtime.versions.load("tiny")
        reply, tier = await service.predict(grey(1)), await service.tier()

    assert (version_of(reply), tier) == (2, "fallback")


async def test_a_start_serves_an_older_version_where_the_newest_does_not_run() -> None:
    """As a load would; the reason of the newest stays to be seen."""
    shelf = Shelf()
    shelf.put(1, 2)
    engines = Engines({"tiny/2": Unbuildable()})
    async with running(tiny_model(version="2"), source=shelf, engines=engines.plan) as service:
        reply = await service.predict(grey(1))
        broken = (await service.client.get("/readyz")).json()["broken"]
        again = engines.by_key["tiny/2"].ran

    assert version_of(reply) == 1
    assert list(broken) == ["tiny/2"]
    assert (shelf.loaded, again) == (["tiny/1"], [])


async def test_a_version_that_turns_out_not_to_run_is_followed_by_an_older_one() -> None:
    """Its first engine answered, and the one that was asked for by name cannot be built."""
    shelf = Shelf()
    shelf.put(1, 2)
    plans = {
        "tiny/2": EnginePlan(FakeEngine(), Unbuildable(), may_fall_back=False),
        "tiny/1": EnginePlan(engine := FakeEngine(), engine),
    }
    async with running(
        tiny_model(version="2"), source=shelf, engines=lambda loaded: plans[loaded.key]
    ) as service:
        await service.built.wait()
        reply, lost = await service.predict(grey(1)), service.lost.done()

    assert (version_of(reply), lost) == (1, False)


async def test_a_model_of_which_no_version_runs_ends_the_start() -> None:
    """With the reason of the last."""
    shelf = Shelf()
    shelf.put(1, 2)
    engines = Engines({"tiny/1": Unbuildable(), "tiny/2": Unbuildable()})

    with pytest.raises(EngineFailed, match="no C\\+\\+ compiler"):
        async with running(tiny_model(version="2"), source=shelf, engines=engines.plan):
            pass


async def test_unloading_waits_for_no_build_and_no_change() -> None:
    """What comes up meanwhile is not let in."""
    shelf, slow = Shelf(), SlowEngine()
    shelf.put(1, 2)
    engines = Engines({"tiny/2": slow})
    async with running(source=shelf, engines=engines.plan) as service:
        versions = service.runtime.versions
        loading = asyncio.ensure_future(versions.load("tiny"))
        await asyncio.to_thread(slow.is_loading.wait)
        waiting = asyncio.ensure_future(versions.refresh())
        versions.unload("tiny")
        served = list(service.runtime.models)
        slow.may_load.set()
        with pytest.raises(NotLoaded, match="tiny was unloaded meanwhile"):
            await loading
        await waiting
        await until(partial(has_let_go, service))
        after = states(service)

    assert served == []
    assert after == {"tiny/1": "UNAVAILABLE", "tiny/2": "UNAVAILABLE"}
    assert (slow.is_closed, shelf.loaded) == (True, ["tiny/2"])


async def test_a_version_that_left_before_its_turn_is_not_built() -> None:
    """Nobody would be answered by it."""
    first, final = SlowEngine(), FakeEngine()
    plans = {
        "ant": EnginePlan(FakeEngine(), first),
        "tiny": EnginePlan(FakeEngine(), final),
    }
    async with running(
        tiny_model("ant"), tiny_model(), engines=lambda one: plans[one.manifest.name]
    ) as service:
        await asyncio.to_thread(first.is_loading.wait)
        service.runtime.versions.unload("tiny")
        first.may_load.set()
        await service.built.wait()

    assert final.ran == []


async def test_a_load_of_which_the_settings_want_nothing_fails() -> None:
    """Instead of an answer after which nothing serves."""
    shelf = Shelf()
    shelf.put("tiny/1", "ant/1")
    async with running(source=shelf, engines=Engines().plan, models="tiny") as service:
        with pytest.raises(NotLoaded, match="the store has ant/1, and the settings want none"):
            await service.runtime.versions.load("ant")


async def test_a_canary_may_be_set_before_it_is_there() -> None:
    """It is told as missing, and is no reason for a load to fail."""
    shelf = Shelf()
    shelf.put(1)
    weights = "tiny/1=95,tiny/2=5"
    async with running(source=shelf, engines=Engines().plan, version_weights=weights) as service:
        await service.runtime.versions.load("tiny")
        told = service.runtime.versions.states()
        shelf.broken.add("tiny/2")
        shelf.put(1, 2)
        with pytest.raises(NotLoaded):
            await service.runtime.versions.load("tiny")
        weight = await service.metric('sge_version_weight{model="tiny",version="2"}')

    assert told[-1] == VersionState("tiny", "2", "UNAVAILABLE", "the store has no such version")
    assert weight == 5


async def test_a_version_without_a_share_answers_for_no_other() -> None:
    """The one with all of it is restarting: requests that name no version wait for it."""
    models = tiny_model(version="1"), tiny_model(version="2")
    weights = "tiny/1=100,tiny/2=0"
    async with running(*models, engines=Engines().plan, version_weights=weights) as service:
        sharing, _ = service.runtime.models.versions("tiny")
        sharing.tier = "restarting"
        unnamed = await service.predict(grey(1))
        named = await service.predict(grey(1), "version=2")

    assert (unnamed.status_code, version_of(named)) == (503, 2)


async def test_the_index_has_what_the_store_has() -> None:
    """Also what a rollback could take."""
    shelf = Shelf()
    shelf.put(1, 2)
    async with running(source=shelf, engines=Engines().plan) as service:
        await service.runtime.versions.load("tiny")
        await until(partial(has_let_go, service))
        told = service.runtime.versions.states()

    assert told == [
        VersionState("tiny", "1", "UNAVAILABLE", NOT_WANTED),
        VersionState("tiny", "2", "READY"),
    ]


async def test_a_failed_change_ends_the_thread_that_builds() -> None:
    """With it goes its team of threads."""
    async with running(source=Shelf(), engines=Engines().plan) as service:
        await service.built.wait()
        with pytest.raises(UnknownModel):
            await service.runtime.versions.load("nope")
        thread = service.runtime.models.builder.thread

        assert not thread.is_running


async def test_a_request_in_the_engine_outlives_its_unloading() -> None:
    """Though nothing serves any more."""
    engine = GatedEngine()
    async with running(source=Shelf(), engine=engine) as service:
        inside = asyncio.ensure_future(service.predict(grey(1)))
        await engine.entered()
        service.runtime.versions.unload("tiny")
        engine.open()
        reply = await inside

    assert version_of(reply) == 1
