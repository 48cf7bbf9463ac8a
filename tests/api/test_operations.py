"""What operators and people see: models, the documentation and the page."""

from __future__ import annotations

import re

import pytest

from service.api import operations
from service.config import Settings
from service.errors import BadSetting
from service.serving.runtime import build_runtime
from service.store.load import StoreContents
from tests.fakes import FakeEngine
from tests.running import grey, running, tiny_model

pytestmark = pytest.mark.anyio


async def test_models_are_listed_and_described() -> None:
    """The list has versions and the default; a description has labels, input, blocks, engine."""
    async with running(tiny_model(), tiny_model(version="10"), tiny_model(version="2")) as s:
        listed = (await s.client.get("/v1/models")).json()
        described = (await s.client.get("/v1/models/tiny")).json()
        older = (await s.client.get("/v1/models/tiny?version=2")).json()
        unknown = await s.client.get("/v1/models/other")

    assert listed == {"models": [{"name": "tiny", "versions": ["1", "2", "10"], "default": True}]}
    assert (described["version"], older["version"]) == ("10", "2")
    assert described["labels"] == ["cat", "dog", "gnu"]
    assert described["blocks"][-1] == {"name": "layer4.1", "groups": 8, "height": 2, "width": 2}
    assert described["engine"]["name"] == "eager"
    assert described["engine"]["tier"] == "final"
    assert unknown.status_code == 404


async def test_several_models_without_a_default_must_be_named() -> None:
    """A request that names none is told what there is."""
    async with running(tiny_model("a"), tiny_model("b")) as service:
        unnamed = await service.predict(grey(1))
        named = await service.predict(grey(1), "model=b")

    assert unnamed.json()["error"]["message"] == "name a model, served are: a, b"
    assert named.json()["model"]["name"] == "b"


def test_a_default_that_is_not_served_is_refused() -> None:
    """The setting and what is served are named."""
    contents = StoreContents((tiny_model(),), ())

    with pytest.raises(BadSetting, match="SGE_DEFAULT_MODEL=other is not served, served are: tiny"):
        build_runtime(Settings(default_model="other"), contents)


async def test_the_page_needs_nothing_from_elsewhere() -> None:
    """The page and what it loads come from the service, under a policy that allows no other."""
    async with running(engine=FakeEngine()) as service:
        page = await service.client.get("/")
        parts = re.findall(r'(?:src|href)="(static/[^"]+)"', page.text)
        loaded = [await service.client.get(f"/{part}") for part in parts]

    assert page.headers["content-security-policy"].startswith("default-src 'self'")
    assert page.headers["permissions-policy"].startswith("camera=(self)")
    assert {part.status_code for part in loaded} == {200}
    assert len(parts) >= 2
    assert "http://" not in page.text.replace("http://www.w3.org", "")


async def test_the_modules_of_the_page_import_one_another_alone() -> None:
    """Each is served as a script, and a browser asks whether it changed before it uses a copy."""
    names = sorted(file.name for file in operations.WEB.glob("*.js"))
    async with running(engine=FakeEngine()) as service:
        loaded = {name: await service.client.get(f"/static/{name}") for name in names}

    imported = {
        found
        for part in loaded.values()
        for found in re.findall(r'^(?:import|\} from).*"(.+)";$', part.text, re.MULTILINE)
    }
    assert {part.headers["content-type"] for part in loaded.values()} == {
        "text/javascript; charset=utf-8"
    }
    assert {part.headers["cache-control"] for part in loaded.values()} == {"no-cache"}
    assert imported <= {f"./{name}" for name in names}
    assert len(imported) > 10
