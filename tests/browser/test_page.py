"""The page in a real browser: a picture in, predictions, masks and a command out."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import FilePayload, Page, expect

from service.api.key_file import add_key
from tests.browser.serving import serving
from tests.running import grey, tiny_model

pytestmark = pytest.mark.browser

GREY: FilePayload = {"name": "grey.png", "mimeType": "image/png", "buffer": grey(90)}


def test_a_version_can_be_picked_where_there_are_several(page: Page, address: str) -> None:
    """The newest comes first; the one picked is described, asked and in the command."""
    page.goto(address)
    expect(page.locator("#engine")).to_contain_text("single")
    expect(page.locator("#versions")).to_be_hidden()
    page.select_option("#model", "twice")
    expect(page.locator("#version option")).to_have_text(["2", "1"])
    page.select_option("#version", "1")
    expect(page.locator("#engine")).to_contain_text("version 1")
    page.set_input_files("#file", GREY)

    expect(page.locator("#curl")).to_contain_text("model=twice")
    expect(page.locator("#curl")).to_contain_text("version=1")


def test_copying_the_command_is_confirmed_beside_the_button(page: Page, address: str) -> None:
    """The words stand next to the button."""
    page.goto(address)
    page.set_input_files("#file", GREY)
    page.click("#copy")

    expect(page.locator("#copy + #copied")).to_contain_text("Cop")


def test_masks_are_drawn_for_every_group(page: Page, address: str) -> None:
    """Each group of the last block has a canvas with a name."""
    page.goto(address)
    page.set_input_files("#file", GREY)

    expect(page.locator("#masks-drawn canvas")).to_have_count(8)
    names = [f"group {number}" for number in range(8)]
    expect(page.locator("#masks-drawn figcaption")).to_have_text(names)


def test_the_page_asks_for_a_key_where_the_service_wants_one(page: Page, tmp_path: Path) -> None:
    """Until one is given that is known; then all works, the reference in the same tab, too."""
    key = add_key(tmp_path / "keys", "shop")
    with serving(tiny_model(), engine="stub", api_keys_file=tmp_path / "keys") as address:
        page.goto(address)
        page.fill("#key", "sge_wrong")
        page.click("#key-form button")
        expect(page.locator("#key-form")).to_contain_text("not known")
        page.fill("#key", key)
        page.click("#key-form button")
        expect(page.locator("#key-form")).to_have_count(0)
        page.set_input_files("#file", GREY)
        expect(page.locator("#curl")).to_contain_text('-H "X-API-Key: $KEY"')
        expect(page.locator("#curl")).not_to_contain_text(key)
        page.goto(f"{address}/docs")

        expect(page.locator("body")).to_contain_text("Classify images")
