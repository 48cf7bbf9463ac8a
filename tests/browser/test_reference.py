"""The reference of the API in a real browser, under the policy that its pages come with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from service.api.key_file import add_key
from service.api.reference import find_assets
from tests.browser.serving import serving
from tests.running import tiny_model

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not find_assets(), reason="fastapi-offline is not installed"),
]


@pytest.fixture(scope="module", params=["", "/sge"])
def rooted(request: pytest.FixtureRequest) -> Iterator[str]:
    """A service, by itself and under a path."""
    with serving(tiny_model(), engine="stub", root_path=request.param) as started:
        yield started


@pytest.mark.parametrize("name", ["docs", "redoc"])
def test_the_reference_shows_every_route(rooted: str, name: str, page: Page) -> None:
    """From openapi.json, without anything from elsewhere, and nothing of it is blocked."""
    page.goto(f"{rooted}/{name}")

    expect(page.locator("body")).to_contain_text("Classify images")
    assert page.evaluate("document.styleSheets.length") > 0


def test_the_reference_asks_for_a_key_where_the_service_wants_one(
    context: BrowserContext, tmp_path: Path
) -> None:
    """Both of its pages do, in a tab that has none yet."""
    key = add_key(tmp_path / "keys", "shop")
    with serving(tiny_model(), engine="stub", api_keys_file=tmp_path / "keys") as address:
        for name in ("docs", "redoc"):
            with context.new_page() as page:
                page.goto(f"{address}/{name}")
                page.fill("#key", key)
                page.click("#key-form button")

                expect(page.locator("body")).to_contain_text("Classify images")
