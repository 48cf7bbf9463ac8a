"""One browser for all tests of the page, and a service on a free port of loopback."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.browser.serving import serving

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),  # a camera
)
WAIT_MS = 60_000  # only against hanging: a busy machine takes several times as long


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


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    """A profile of its own."""
    with chromium.new_context() as fresh:
        fresh.set_default_timeout(WAIT_MS)
        yield fresh


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """A page that has opened nothing yet."""
    return context.new_page()


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """A service, shared by the tests that change nothing of it."""
    with serving() as started:
        yield started
