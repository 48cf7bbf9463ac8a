"""Versions that are loaded and unloaded over HTTP, and who may do that."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from service.api.key_file import add_key
from tests.fakes import SlowEngine
from tests.running import Running, grey, running, tiny_model, until
from tests.serving.version_shelf import Engines, Shelf

pytestmark = pytest.mark.anyio

LOAD, UNLOAD = (f"/v2/repository/models/tiny/{change}" for change in ("load", "unload"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the admin keys are."""
    return tmp_path / "admins"


@pytest.fixture
def admin(file: Path) -> dict[str, str]:
    """The header of an admin."""
    return {"Authorization": f"Bearer {add_key(file, 'operator')}"}


@pytest.fixture
def shelf() -> Shelf:
    """A store with version 2 of the model that is served."""
    return Shelf(["tiny/2"])


async def index_of(service: Running) -> list[tuple[str, str, str, str]]:
    """The index without the views of pictures."""
    listed = (await service.client.post("/v2/repository/index")).json()
    return [
        (one["name"], one["version"], one["state"], one["reason"])
        for one in listed
        if "-" not in one["name"]
    ]


async def test_an_admin_loads_and_unloads(file: Path, admin: dict[str, str], shelf: Shelf) -> None:
    """Exactly 200, with an empty body, as clients of the protocol want it."""
    async with running(source=shelf, engines=Engines().plan, admin_key_file=file) as service:
        loaded = await service.client.post(LOAD, headers=admin)
        reply = await service.predict(grey(1))
        unloaded = await service.client.post(
            UNLOAD, headers=admin, json={"parameters": {"unload_dependents": False}}
        )
        absent = await service.client.post("/v2/repository/models/ant/load", headers=admin)

    assert [(one.status_code, one.content) for one in (loaded, unloaded)] == [(200, b"")] * 2
    assert reply.json()["model"] == {"name": "tiny", "version": "2"}
    assert (absent.status_code, absent.json()) == (404, {"error": "the store has no model 'ant'"})


async def test_a_version_that_fails_is_told_to_who_loads_it_and_in_the_index(
    file: Path, admin: dict[str, str], shelf: Shelf
) -> None:
    """With its reason; the one that serves is listed before it."""
    shelf.broken.add("tiny/2")
    async with running(source=shelf, engines=Engines().plan, admin_key_file=file) as service:
        refused = await service.client.post(LOAD, headers=admin)
        listed = await index_of(service)
        ready = (await service.client.post("/v2/repository/index", json={"ready": True})).json()

    reason = "labels.txt has another sha256"
    assert (refused.status_code, refused.json()) == (400, {"error": f"tiny/2: {reason}"})
    assert listed == [("tiny", "1", "READY", ""), ("tiny", "2", "UNAVAILABLE", reason)]
    assert {one["version"] for one in ready} == {"1"}


@pytest.mark.parametrize("path", [LOAD, UNLOAD])
async def test_without_an_admin_key_nothing_changes(
    path: str, file: Path, admin: dict[str, str], tmp_path: Path, shelf: Shelf
) -> None:
    """None, an unknown one, and one of a client, which opens everything else."""
    client = {"X-API-Key": add_key(tmp_path / "clients", "shop")}
    async with running(
        source=shelf,
        engines=Engines().plan,
        api_keys_file=tmp_path / "clients",
        admin_key_file=file,
    ) as service:
        replies = [
            await service.client.post(path, headers=headers)
            for headers in ({}, {"X-API-Key": "sge_wrong"}, client)
        ]
        others = [
            await service.client.get("/v1/models", headers=headers) for headers in (admin, client)
        ]
        served = [model.loaded.key for model in service.runtime.models]
        changed = await service.client.post(LOAD, headers=admin)

    needed = "an admin key is needed: Authorization: Bearer KEY, or X-API-Key: KEY"
    assert [reply.status_code for reply in replies] == [401] * 3
    assert [reply.json()["error"] for reply in replies] == [needed, *["this is no admin key"] * 2]
    assert {reply.headers["www-authenticate"] for reply in replies} == {"Bearer"}
    assert ([reply.status_code for reply in others], served) == ([401, 200], ["tiny/1"])
    assert changed.status_code == 200


async def test_a_service_without_admin_keys_says_so(shelf: Shelf) -> None:
    """To everybody, in the form of the protocol."""
    async with running(source=shelf, engines=Engines().plan) as service:
        refused = await service.client.post(LOAD)

    assert refused.status_code == 501
    assert refused.json()["error"].endswith("SGE_ADMIN_KEY_FILE, which is not set")


async def test_what_is_loaded_is_what_the_store_has(
    file: Path, admin: dict[str, str], shelf: Shelf
) -> None:
    """Another configuration, or the files themselves, are not taken from a request."""
    sent = {"parameters": {"config": "{}"}}
    async with running(source=shelf, engines=Engines().plan, admin_key_file=file) as service:
        refused = await service.client.post(LOAD, headers=admin, json=sent)

    assert refused.status_code == 400
    assert "parameter 'config'" in refused.json()["error"]
    assert shelf.loaded == []


async def test_a_stopping_service_does_not_wait_for_a_load(
    file: Path, admin: dict[str, str], shelf: Shelf
) -> None:
    """Who asked for it is told; so it is where a client leaves: what it began goes on."""
    slow = SlowEngine()
    engines = Engines({"tiny/2": slow})
    async with running(source=shelf, engines=engines.plan, admin_key_file=file) as service:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await service.client.post(LOAD, headers=admin)
        waiting = asyncio.ensure_future(service.client.post(LOAD, headers=admin))
        await asyncio.to_thread(slow.is_loading.wait)
        service.runtime.admission.drain()
        reply = await waiting
        slow.may_load.set()
        await until(lambda: is_served(service, "2"))

    assert reply.status_code == 503
    assert reply.json() == {"error": "the service is stopping"}
    assert shelf.loaded == ["tiny/2"]


async def is_served(service: Running, version: str) -> bool:
    """Whether a version answers."""
    return [model.version for model in service.runtime.models] == [version]


async def test_requests_are_shared_out_by_weight(shelf: Shelf) -> None:
    """Of those that name no version, by both protocols; each is counted for the one it met."""
    models = tiny_model(version="1"), tiny_model(version="2")
    weights = "tiny/1=95,tiny/2=5"
    async with running(*models, engines=Engines().plan, version_weights=weights) as service:
        service.runtime.models.shares.random.seed(17)
        drawn = [service.runtime.models.draw(None, None).version for _ in range(2000)]
        native = [await service.predict(grey(1)) for _ in range(30)]
        protocol = [
            await service.client.post(
                "/v2/models/tiny-image/infer",
                content=grey(1),
                headers={"Inference-Header-Content-Length": "0"},
            )
            for _ in range(30)
        ]
        named = await service.predict(grey(1), "version=2")
        counted = [
            await service.metric(f'sge_requests_total{{model="tiny",outcome="ok",version="{one}"}}')
            for one in "12"
        ]
        set_ = await service.metric('sge_version_weight{model="tiny",version="2"}')

    of_two = [reply.json()["model"]["version"] for reply in native].count("2")
    of_two += sum(b'"model_version":"2"' in reply.content for reply in protocol)
    assert 70 <= drawn.count("2") <= 130
    assert named.json()["model"]["version"] == "2"
    assert counted == [60 - of_two, of_two + 1]
    assert (set_, 0 < of_two < 12) == (5, True)


async def test_a_weighted_version_that_cannot_answer_leaves_its_share_to_the_other() -> None:
    """Until it is there again."""
    weights = "tiny/1=1,tiny/2=99"
    async with running(engines=Engines().plan, version_weights=weights) as service:
        replies: list[httpx.Response] = [await service.predict(grey(1)) for _ in range(3)]

    assert {reply.json()["model"]["version"] for reply in replies} == {"1"}


async def test_a_views_name_means_its_model(
    file: Path, admin: dict[str, str], shelf: Shelf
) -> None:
    """As the index lists it, so it can be loaded and unloaded."""
    load, unload = (f"/v2/repository/models/tiny-image/{change}" for change in ("load", "unload"))
    async with running(source=shelf, engines=Engines().plan, admin_key_file=file) as service:
        replies = [await service.client.post(path, headers=admin) for path in (load, unload)]
        served = list(service.runtime.models)

    assert ([reply.status_code for reply in replies], served) == ([200, 200], [])


async def test_a_stopping_service_begins_no_load(
    file: Path, admin: dict[str, str], shelf: Shelf
) -> None:
    """Who asks is told, and nothing is read."""
    async with running(source=shelf, engines=Engines().plan, admin_key_file=file) as service:
        service.runtime.admission.drain()
        reply = await service.client.post(LOAD, headers=admin)

    assert (reply.status_code, shelf.loaded) == (503, [])
