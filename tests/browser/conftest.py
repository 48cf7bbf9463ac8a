"""One browser for all tests of the page, and a service on a free port of loopback."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.browser.serving import inserted_model, many_classes_model, serving
from tests.running import tiny_model

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),  # a camera
)
ALLOWED = ("camera", "clipboard-read", "clipboard-write")
WAIT_MS = 30_000  # only against hanging: a busy machine takes several times as long


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A browser without a window."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def context(chromium: Browser) -> Iterator[BrowserContext]:
    """A profile; nothing that the page keeps outlives its tab, but for the browser's cache."""
    with chromium.new_context(permissions=list(ALLOWED)) as fresh:
        fresh.set_default_timeout(WAIT_MS)
        yield fresh


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page that has opened nothing yet."""
    with context.new_page() as fresh:
        yield fresh


@pytest.fixture
def watched(page: Page) -> Iterator[None]:
    """Holds the page to ask nobody but the service, to raise nothing and to log no error."""
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(error.message))
    page.on("request", lambda sent: faults.extend(strangers(sent.url)))
    page.on("console", lambda said: faults.extend(complaints(said.type, said.text)))
    yield
    assert faults == []


def complaints(kind: str, text: str) -> list[str]:
    """What the console says, but for a browser's own line on each answer that is a refusal."""
    is_one = kind in {"error", "warning"} and not text.startswith("Failed to load resource")
    return [text] if is_one else []


def strangers(address: str) -> list[str]:
    """An address, where it is neither the service's nor what a page holds itself."""
    return [] if address.startswith(("http://127.0.0.1:", "blob:", "data:")) else [address]


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """A service of several models, shared by the tests that change nothing of it."""
    usual = (tiny_model("single"), tiny_model("twice"), tiny_model("twice", "2"), inserted_model())
    odd = (
        many_classes_model(),
        replace(tiny_model("numbered"), labels=("1", "10", "2")),
        replace(tiny_model("alike"), labels=("crane", "Crane", "crane")),
        replace(tiny_model("long"), labels=tuple(letter * 120 for letter in "abc")),
    )
    with serving(*usual, *odd, pixel_limit_mp=1) as started:
        yield started


@pytest.fixture
def seen(page: Page, address: str) -> Page:
    """The page with the answered example."""
    page.goto(f"{address}/")
    expect(page.locator("#answer")).to_be_visible()
    return page
