"""Versions that come and go while requests are answered."""

from __future__ import annotations

import asyncio
import gc
import re
import weakref
from functools import partial

import httpx
import pytest
from starlette.types import Message

from service.engines.plan import EnginePlan
from service.errors import MissingFile, NotLoaded, UnknownModel
from service.serving.memory_room import Memory
from service.serving.version_states import VersionState
from service.store.load import BrokenVersion
from tests.fakes import FakeEngine, GatedEngine, SlowEngine
from tests.running import Running, grey, running, tiny_model, until
from tests.serving.version_shelf import Engines, Shelf

pytestmark = pytest.mark.anyio

BROKEN = "labels.txt has another sha256"


class Unbuildable(FakeEngine):
    """An engine that cannot run on any machine."""

    def load(self) -> None:
        """Fail."""
        raise OSError("no C++ compiler")


def version_of(reply: httpx.Response) -> int:
    """The version that made an answer, as the answer names it."""
    assert reply.status_code == 200, reply.text
    return int(reply.json()["model"]["version"])


def states(service: Running) -> dict[str, str]:
    """Where every version stands."""
    return {f"{one.name}/{one.version}": one.state for one in service.runtime.versions.states()}


async def has_let_go(service: Running) -> bool:
    """Whether nobody is inside any more who began on an older version."""
    return not service.runtime.models.leaving


async def ask_until(stop: asyncio.Event, service: Running, answers: list[httpx.Response]) -> None:
    """Ask again as soon as an answer has come, as a client does."""
    while not stop.is_set():
        answers.append(await service.predict(grey(1)))


async def test_ten_versions_take_over_under_load_and_no_request_is_lost() -> None:
    """Sixteen clients go on asking; every answer names its version, and none an older one."""
    shelf, stop = Shelf(), asyncio.Event()
    answers: list[list[httpx.Response]] = [[] for _ in range(16)]
    async with running(source=shelf, engines=Engines().plan) as service:
        clients = [asyncio.ensure_future(ask_until(stop, service, own)) for own in answers]
        for version in range(2, 12):
            shelf.put(version)
            await service.runtime.versions.load("tiny")
            await service.predict(grey(2))
        stop.set()
        await asyncio.gather(*clients)
        await until(partial(has_let_go, service))
        ended = states(service)
        loads = await service.metric('sge_version_loads_total{model="tiny",outcome="ok"}')

    told = [[version_of(reply) for reply in own] for own in answers]
    assert told == [sorted(own) for own in told]
    assert {version for own in told for version in own} >= set(range(2, 11))
    assert (ended, loads) == ({"tiny/11": "READY"}, 10)


async def test_a_request_ends_on_the_version_on_which_it_began() -> None:
    """Also one that is on the device; who comes later gets the new version, which waits for it."""
    shelf, engines = Shelf(), Engines({"tiny/1": (old := GatedEngine())})
    async with running(source=shelf, engines=engines.plan) as service:
        first = asyncio.ensure_future(service.predict(grey(1)))
        await old.entered()
        shelf.put(2)
        await service.runtime.versions.load("tiny")
        while_it_leaves = states(service)
        second = asyncio.ensure_future(service.predict(grey(2)))
        old.open()
        replies = await asyncio.gather(first, second)
        await until(partial(has_let_go, service))

    assert while_it_leaves == {"tiny/1": "UNLOADING", "tiny/2": "READY"}
    assert [version_of(reply) for reply in replies] == [1, 2]
    assert old.is_closed


async def test_a_request_whose_body_still_comes_keeps_its_version() -> None:
    """It is let in already; the version stays until it is answered."""
    shelf, engines, may_send = Shelf(), Engines(), asyncio.Event()

    async def receive() -> Message:
        await may_send.wait()
        may_send.clear()
        return {"type": "http.request", "body": grey(1), "more_body": False}

    async with running(source=shelf, engines=engines.plan) as service:
        slow = asyncio.ensure_future(service.converse(receive))
        await until(partial(is_inside, service))
        shelf.put(2)
        await service.runtime.versions.load("tiny")
        may_send.set()
        reply = await slow
        await until(partial(has_let_go, service))

    assert version_of(reply) == 1
    assert engines.by_key["tiny/1"].is_closed


async def is_inside(service: Running) -> bool:
    """Whether a request was let in."""
    return service.runtime.admission.requests > 0


async def test_a_version_that_fails_leaves_the_old_one_and_says_why() -> None:
    """To who loads it, in the index, in readiness and as a metric; mended, it is loaded."""
    shelf = Shelf(broken={"tiny/2"})
    shelf.put(1, 2)
    async with running(source=shelf, engines=Engines().plan) as service:
        with pytest.raises(NotLoaded, match=f"tiny/2: {BROKEN}"):
            await service.runtime.versions.load("tiny")
        reply = await service.predict(grey(1))
        ready = await service.client.get("/readyz")
        told = service.runtime.versions.states()
        failed = await service.metric('sge_version_loads_total{model="tiny",outcome="failed"}')
        broken = await service.metric("sge_broken_versions")
        shelf.broken.clear()
        await service.runtime.versions.load("tiny")
        mended = (await service.client.get("/readyz")).json()["broken"]

    assert version_of(reply) == 1
    assert (ready.status_code, ready.json()["broken"]) == (200, {"tiny/2": BROKEN})
    assert told[-1] == VersionState("tiny", "2", "UNAVAILABLE", BROKEN)
    assert (failed, broken, mended) == (1, 1, {})


@pytest.mark.parametrize("engine", [Unbuildable(), FakeEngine(lethal=[0])])
async def test_a_version_whose_engine_fails_leaves_the_old_one(engine: FakeEngine) -> None:
    """It cannot be built, or ends its thread as it is warmed up; the next one is loaded."""
    shelf, engines = Shelf(), Engines({"tiny/2": engine})
    async with running(source=shelf, engines=engines.plan) as service:
        shelf.put(1, 2)
        with pytest.raises(NotLoaded, match="tiny/2: the engine "):
            await service.runtime.versions.load("tiny")
        reply = await service.predict(grey(1))
        counted = (await service.client.get("/metrics")).text
        shelf.put(1, 2, 3)
        await service.runtime.versions.load("tiny")
        newer = await service.predict(grey(1))

    assert (version_of(reply), version_of(newer)) == (1, 3)
    assert 'version="2"' not in counted


async def test_of_several_new_versions_the_newest_that_can_serves() -> None:
    """3 fails, 2 does not; 1 is not needed any more."""
    shelf = Shelf(broken={"tiny/3"})
    shelf.put(1, 2, 3)
    async with running(source=shelf, engines=Engines().plan) as service:
        with pytest.raises(NotLoaded):
            await service.runtime.versions.load("tiny")
        reply = await service.predict(grey(1))

    assert version_of(reply) == 2
    assert shelf.loaded == ["tiny/3", "tiny/2"]


async def test_a_removed_version_makes_room_for_an_older_one() -> None:
    """Which is loaded first; a model that has gone is let go of, unless the store is empty."""
    shelf = Shelf()
    models = tiny_model(version="2"), tiny_model("ant")
    async with running(*models, source=shelf, engines=Engines().plan) as service:
        shelf.put(1)
        await service.runtime.versions.refresh()
        await until(partial(has_let_go, service))
        rolled_back = states(service)
        shelf.put()
        await service.runtime.versions.refresh()
        emptied = states(service)

    assert rolled_back == emptied == {"tiny/1": "READY"}


async def test_loads_at_the_same_time_load_once() -> None:
    """The second finds that there is nothing to do."""
    shelf = Shelf()
    async with running(source=shelf, engines=Engines().plan) as service:
        shelf.put(2)
        await asyncio.gather(*(service.runtime.versions.load("tiny") for _ in range(3)))
        reply = await service.predict(grey(1))

    assert (shelf.loaded, version_of(reply)) == (["tiny/2"], 2)


async def test_a_version_that_comes_up_is_seen_and_nobody_waits_for_it() -> None:
    """The old one answers until the engine that stays has been warmed up."""
    shelf, final = Shelf(), SlowEngine()
    plans = {"1": EnginePlan(FakeEngine(), FakeEngine()), "2": EnginePlan(FakeEngine(), final)}
    async with running(
        source=shelf, engines=lambda loaded: plans[loaded.manifest.version]
    ) as service:
        await service.built.wait()
        shelf.put(2)
        loading = asyncio.ensure_future(service.runtime.versions.load("tiny"))
        await asyncio.to_thread(final.is_loading.wait)
        meanwhile, told = await service.predict(grey(1)), states(service)
        final.may_load.set()
        await loading
        after, tier = await service.predict(grey(2)), await service.tier()

    assert (version_of(meanwhile), version_of(after), tier) == (1, 2, "final")
    assert told == {"tiny/1": "READY", "tiny/2": "LOADING"}
    assert plans["2"].first.ran == []  # type: ignore[attr-defined]


async def test_a_model_that_is_new_answers_on_its_first_engine() -> None:
    """Nothing of it serves, so nothing is better; its final engine takes over later."""
    shelf, final = Shelf(), SlowEngine()
    plans = {"ant": EnginePlan(FakeEngine(), final)}
    engines = Engines()
    async with running(
        source=shelf, engines=lambda one: plans.get(one.manifest.name) or engines.plan(one)
    ) as service:
        shelf.put("ant/1")
        await service.runtime.versions.load("ant")
        reply = await service.predict(grey(1), "model=ant")
        (tier,) = [model.tier for model in service.runtime.models.versions("ant")]
        final.may_load.set()
        await until(partial(is_final, service, "ant"))
        unnamed = await service.predict(grey(1))

    assert (version_of(reply), tier) == (1, "first")
    assert unnamed.json()["model"]["name"] == "tiny"


async def is_final(service: Running, name: str) -> bool:
    """Whether the engine that was asked for answers."""
    return [model.tier for model in service.runtime.models.versions(name)] == ["final"]


async def test_unloading_the_last_model_leaves_a_service_that_is_not_ready() -> None:
    """Nothing brings it back but a load, after which requests need not name it."""
    shelf = Shelf()
    shelf.put(1)
    async with running(source=shelf, engines=Engines().plan) as service:
        service.runtime.versions.unload("tiny")
        ready = await service.client.get("/readyz")
        refused = await service.predict(grey(1))
        await service.runtime.versions.refresh()
        await until(partial(has_let_go, service))
        told = service.runtime.versions.states()
        with pytest.raises(UnknownModel):
            service.runtime.versions.unload("tiny")
        await service.runtime.versions.load("tiny")
        reply, is_ready = await service.predict(grey(1)), await service.is_ready()
        lost = service.lost.done()

    assert (ready.status_code, refused.status_code) == (503, 404)
    assert VersionState("tiny", "1", "UNAVAILABLE", "unloaded") in told
    assert (version_of(reply), is_ready, lost) == (1, True, False)


async def test_what_the_store_does_not_have_cannot_be_loaded() -> None:
    """No more than it could be asked for."""
    async with running(source=Shelf(), engines=Engines().plan) as service:
        with pytest.raises(UnknownModel, match="the store has no model 'tiny'"):
            await service.runtime.versions.load("tiny")
        reply = await service.predict(grey(1))

    assert version_of(reply) == 1


async def test_every_version_stays_where_the_policy_is_all() -> None:
    """And pinned versions, whatever else comes; requests that name none get the latest."""
    shelf = Shelf()
    shelf.put(1, 2)
    async with (
        running(source=shelf, engines=Engines().plan, version_policy="all") as service,
        running(source=shelf, engines=Engines().plan, models="tiny/1") as pinned,
    ):
        await service.runtime.versions.load("tiny")
        await pinned.runtime.versions.load("tiny")
        replies = [await service.predict(grey(1), query) for query in ("", "version=1")]
        told = states(pinned)

    assert [version_of(reply) for reply in replies] == [2, 1]
    assert told == {"tiny/1": "READY", "tiny/2": "UNAVAILABLE"}


async def test_a_version_that_is_named_and_not_there_is_told() -> None:
    """As at the start; it is served as soon as it is there."""
    shelf = Shelf()
    shelf.put(1)
    named = "tiny/1,tiny/2"
    async with running(source=shelf, engines=Engines().plan, models=named) as service:
        await service.runtime.versions.refresh()
        told = service.runtime.versions.states()
        shelf.put(1, 2)
        await service.runtime.versions.refresh()
        later = states(service)

    reason = "the store has no such version"
    assert told[-1] == VersionState("tiny", "2", "UNAVAILABLE", reason)
    assert later == {"tiny/1": "READY", "tiny/2": "READY"}


async def test_whatever_a_broken_version_is_called_the_index_lists_it() -> None:
    """By name, and by number where it has one."""
    async with running(source=Shelf(), engines=Engines().plan) as service:
        for key in ("tiny/10", "tiny/v4", "tiny/2", "ant"):
            service.runtime.models.broken.append(BrokenVersion(key, MissingFile("it is not there")))
        listed = [*states(service)]

    assert listed == ["ant/", "tiny/v4", "tiny/1", "tiny/2", "tiny/10"]


async def test_a_version_comes_back_while_it_still_leaves() -> None:
    """The metrics are those of the new one, also when the old one has ended."""
    shelf, engines = Shelf(), Engines({"tiny/1": (old := GatedEngine())})
    async with running(source=shelf, engines=engines.plan) as service:
        first = asyncio.ensure_future(service.predict(grey(1)))
        await old.entered()
        for version in (2, 1):
            engines.by_key.pop("tiny/1", None)
            shelf.put(version)
            await service.runtime.versions.load("tiny")
        back = states(service)
        old.open()
        reply = await first
        await until(partial(has_let_go, service))
        text = (await service.client.get("/metrics")).text

    assert (version_of(reply), back) == (1, {"tiny/1": "READY", "tiny/2": "UNLOADING"})
    assert 'sge_queue_depth{model="tiny",version="1"} 0.0' in text
    assert re.search(r'sge_engine_info\{[^}]*version="1"\} 1.0', text)


async def test_a_version_that_does_not_fit_into_memory_is_refused_with_the_numbers() -> None:
    """Before anything of it is read but its manifest."""
    shelf = Shelf()
    shelf.put(2)
    memory = Memory(free_bytes=lambda: 64 << 20)
    async with running(source=shelf, engines=Engines().plan, memory=memory) as service:
        with pytest.raises(NotLoaded) as refused:
            await service.runtime.versions.load("tiny")
        reply = await service.predict(grey(1))
        counted = await service.metric('sge_version_loads_total{model="tiny",outcome="no_memory"}')

    assert refused.value.message == (
        "tiny/2: it may take 136 MiB beside what is served, 64 MiB of memory are free"
    )
    assert (version_of(reply), counted, shelf.loaded) == (1, 1, [])


async def test_nothing_of_an_old_version_stays_in_memory() -> None:
    """Neither its engine nor its weights, once its last request has been answered."""
    shelf, engines = Shelf(), Engines()
    freed: list[str] = []
    memory = Memory(tidy_up=lambda: freed.append("memory"))
    async with running(source=shelf, engines=engines.plan, memory=memory) as service:
        for version in (2, 3):
            shelf.put(version)
            await service.runtime.versions.load("tiny")
            await service.predict(grey(1))
            await until(partial(has_let_go, service))
        engine = weakref.ref(engines.by_key.pop("tiny/2"))
        await until(partial(has_gone, engine))

    assert freed == ["memory"] * 2


async def has_gone(engine: weakref.ref[FakeEngine]) -> bool:
    """Whether nobody holds an engine any more."""
    gc.collect()
    return engine() is None


async def test_a_version_is_expected_to_be_as_fast_as_the_one_before() -> None:
    """From its first request on; one slow batch would be all that is known of it otherwise."""
    shelf = Shelf()
    async with running(source=shelf, engines=Engines().plan) as service:
        await service.predict(grey(1))
        (old,) = service.runtime.models
        shelf.put(2)
        await service.runtime.versions.load("tiny")
        (new,) = service.runtime.models
        expected_s = new.batcher.share.seconds_for(3)
        await service.predict(grey(1))
        runs = len(old.batcher.share.times.runs), len(new.batcher.share.times.runs)

    assert expected_s == old.batcher.share.seconds_for(3) > 0
    assert runs == (1, 2)


async def test_the_metrics_forget_what_left_long_ago() -> None:
    """A model that is replaced each week does not fill them."""
    shelf = Shelf()
    async with running(source=shelf, engines=Engines().plan) as service:
        for version in range(2, 13):
            shelf.put(version)
            await service.runtime.versions.load("tiny")
        await until(partial(has_let_go, service))
        text = (await service.client.get("/metrics")).text

    shown = [version for version in range(1, 13) if f'version="{version}"' in text]
    assert shown == [*range(4, 13)]
