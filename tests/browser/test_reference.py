"""The reference of the API in a real browser, under the policy that its pages come with."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.api.reference import find_assets
from service.api.server import build_server
from service.app import create_app
from tests.browser.chromium import CHROMIUM, browsing
from tests.connecting import new_runtime

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.skipif(not find_assets(), reason="fastapi-offline is not installed"),
]


@pytest.fixture(scope="module", params=["", "/sge"])
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    """A service, by itself and under a path."""
    runtime = new_runtime(root_path=request.param)
    server = build_server(create_app(runtime), runtime)
    listener = socket.create_server(("127.0.0.1", 0))
    serving = threading.Thread(target=server.run, args=([listener],))
    serving.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}{request.param}"
    server.end()
    serving.join()


@pytest.mark.parametrize("page", ["docs", "redoc"])
def test_the_reference_shows_every_route(address: str, page: str, tmp_path: Path) -> None:
    """From openapi.json, without anything from elsewhere, and nothing of it is blocked."""
    with browsing(tmp_path / "profile") as opened:
        opened.open(f"{address}/{page}")
        opened.until("document.body?.innerText.includes('Classify images')")
        styles = opened.run("document.styleSheets.length")

    assert styles > 0
