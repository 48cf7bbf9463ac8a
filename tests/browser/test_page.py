"""The page in a real browser: a picture in, predictions, masks and a command out."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from service.api.key_file import add_key
from service.api.server import build_server
from service.app import Hooks, create_app
from service.config import Settings
from service.serving.runtime import build_runtime
from service.store.load import StoreContents
from tests.browser.chromium import CHROMIUM, Page, browsing
from tests.running import grey, tiny_model

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]
ANSWERED = "!document.getElementById('answer').hidden"


@contextmanager
def stub_service(**settings: object) -> Iterator[str]:
    """The address of a service of two models, one in two versions, on the stub engine."""
    models = (tiny_model("single"), tiny_model("twice"), tiny_model("twice", "2"))
    chosen = {"engine": "stub", "default_model": "single"} | settings
    runtime = build_runtime(Settings(**chosen), StoreContents(models, ()))  # type: ignore[arg-type]
    ready = threading.Event()
    server = build_server(create_app(runtime, Hooks(on_ready=ready.set)), runtime)
    listener = socket.create_server(("127.0.0.1", 0))
    serving = threading.Thread(target=server.run, args=([listener],))
    serving.start()
    assert ready.wait(60)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.end()
        serving.join()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The service, shared by the tests that change nothing of it."""
    with stub_service() as started:
        yield started


@pytest.fixture
def page(address: str, tmp_path: Path) -> Iterator[Page]:
    """The page, once it knows the models."""
    with browsing(tmp_path / "profile") as opened:
        opened.open(f"{address}/")
        opened.until("document.getElementById('engine')?.textContent")
        yield opened


def choose(page: Page, field: str, value: str) -> None:
    """Pick an option as a person does."""
    page.run(
        f"document.getElementById('{field}').value = '{value}';"
        f"document.getElementById('{field}').dispatchEvent(new Event('change', {{bubbles: true}}))"
    )


def test_a_version_can_be_picked_where_there_are_several(page: Page, tmp_path: Path) -> None:
    """The newest comes first; the one picked is described, asked and in the command."""
    is_hidden = page.run("document.getElementById('versions').hidden")
    choose(page, "model", "twice")
    page.until("!document.getElementById('versions').hidden")
    offered = page.run("[...document.getElementById('version').options].map(({value}) => value)")
    chosen = page.run("document.getElementById('version').value")
    choose(page, "version", "1")
    page.until("document.getElementById('engine').textContent.includes('version 1')")
    picture = tmp_path / "grey.png"
    picture.write_bytes(grey(90))
    page.pick("#file", picture)
    page.until(ANSWERED)
    command = page.run("document.getElementById('curl').textContent")

    assert (is_hidden, offered, chosen) == (True, ["2", "1"], "2")
    assert "model=twice" in command
    assert "version=1" in command


def test_copying_the_command_is_confirmed_beside_the_button(page: Page, tmp_path: Path) -> None:
    """The words stand next to the button, and go with the next answer."""
    picture = tmp_path / "grey.png"
    picture.write_bytes(grey(90))
    page.pick("#file", picture)
    page.until(ANSWERED)
    page.run("document.getElementById('copy').click()")
    page.until("document.getElementById('copied').textContent")
    said = page.run("document.getElementById('copied').textContent")
    is_beside = page.run(
        "document.getElementById('copy').nextElementSibling === document.getElementById('copied')"
    )

    assert said in {"Copied.", "Selected: copy it with Ctrl+C."}
    assert is_beside


def test_masks_are_drawn_for_every_group(page: Page, tmp_path: Path) -> None:
    """Each group of the last block has a canvas with a name."""
    picture = tmp_path / "grey.png"
    picture.write_bytes(grey(90))
    page.pick("#file", picture)
    page.until("document.querySelectorAll('#masks-drawn canvas').length === 8")

    names = page.run(
        "[...document.querySelectorAll('#masks-drawn figcaption')].map((e) => e.textContent)"
    )

    assert names == [f"group {number}" for number in range(8)]


def give(page: Page, key: str) -> None:
    """Type a key into the form that asks for one, and send it off."""
    page.until("!!document.getElementById('key')")
    page.run(
        f"document.getElementById('key').value = '{key}';"
        "document.querySelector('#key-form button').click()"
    )


def test_the_page_asks_for_a_key_where_the_service_wants_one(tmp_path: Path) -> None:
    """Until one is given that is known; then all works, the reference in the same tab, too."""
    key = add_key(tmp_path / "keys", "shop")
    picture = tmp_path / "grey.png"
    picture.write_bytes(grey(90))
    with (
        stub_service(api_keys_file=tmp_path / "keys") as address,
        browsing(tmp_path / "profile") as page,
    ):
        page.open(f"{address}/")
        give(page, "sge_wrong")
        page.until("document.getElementById('key-form')?.textContent.includes('not known')")
        give(page, key)
        page.until("document.getElementById('engine').textContent")
        page.pick("#file", picture)
        page.until(ANSWERED)
        is_asked = page.run("!!document.getElementById('key-form')")
        command = page.run("document.getElementById('curl').textContent")
        page.open(f"{address}/docs")
        page.until("document.body?.innerText.includes('Classify images')")

    assert not is_asked
    assert '-H "X-API-Key: $KEY"' in command
    assert key not in command


def test_the_reference_asks_for_a_key_where_the_service_wants_one(tmp_path: Path) -> None:
    """Both of its pages do, in a tab that has none yet."""
    key = add_key(tmp_path / "keys", "shop")
    with stub_service(api_keys_file=tmp_path / "keys") as address:
        for name in ("docs", "redoc"):
            with browsing(tmp_path / name) as page:
                page.open(f"{address}/{name}")
                give(page, key)
                page.until("document.body?.innerText.includes('Classify images')")
