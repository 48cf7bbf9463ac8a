"""The page in a real browser: a picture in, predictions, masks and a command out."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

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


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Two models, one of them in two versions, on the stub engine."""
    models = (tiny_model("single"), tiny_model("twice"), tiny_model("twice", "2"))
    runtime = build_runtime(
        Settings(engine="stub", default_model="single"), StoreContents(models, ())
    )
    ready = threading.Event()
    server = build_server(create_app(runtime, Hooks(on_ready=ready.set)), runtime)
    listener = socket.create_server(("127.0.0.1", 0))
    serving = threading.Thread(target=server.run, args=([listener],))
    serving.start()
    assert ready.wait(60)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.end()
    serving.join()


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
