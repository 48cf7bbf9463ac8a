"""Links to views: what one names may not be there, and what it cannot hold is said."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.pictures import file, striped

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("watched")]


@pytest.mark.parametrize(
    ("query", "said", "left"),
    [
        ("class=99", "single version 1 has no class 99, only 0 to 2.", ""),
        ("class=1&minus=3", "single version 1 has no class 3, only 0 to 2.", "class=1"),
        (
            "block=layer4.1&group=99&show=attention",
            "single version 1 has no group 99 in layer4.1, only 0 to 7.",
            "block=layer4.1&show=attention",
        ),
        (
            "block=layer9.9&group=1&opacity=40",
            "single version 1 has no block layer9.9.",
            "opacity=40",
        ),
        ("model=gone&version=3&class=1&smooth=off", "no model 'gone'", "smooth=off"),
        ("model=twice&version=9&class=1", "no version '9' of twice", "model=twice&class=1"),
    ],
)
def test_what_a_link_names_in_vain_is_said_and_left_out(
    page: Page, address: str, query: str, said: str, left: str
) -> None:
    """The rest of the view is shown, and its address is what is shown."""
    page.goto(f"{address}/?{query}")

    expect(page.locator("#answer")).to_be_visible()
    expect(page.locator("#error")).to_contain_text(said)
    expect(page.locator("#error")).to_be_visible()
    assert set(page.url.partition("?")[2].split("&")) == set(left.split("&"))


def test_a_comparison_with_a_model_that_is_not_there_is_said(page: Page, address: str) -> None:
    """Nothing takes its place, and the list shows what was asked for."""
    page.goto(f"{address}/?with=gone:3")

    expect(page.locator("#with-error")).to_contain_text("no model 'gone'")
    expect(page.locator(".pane")).to_have_count(1)
    expect(page.locator("#with")).to_have_value("gone:3")
    page.select_option("#with", "")
    expect(page.locator("#with-error")).to_be_hidden()


def test_a_comparison_of_two_pictures_is_in_the_address_by_their_names(seen: Page) -> None:
    """The way back leads to it; loaded anew the page says what is missing, and takes it."""
    seen.set_input_files("#file", [file("a.png"), file("b.png", striped(64, 48))])
    seen.select_option("#with", label="b.png")
    titles = seen.locator(".pane h3")
    both = [re.compile("^a.png"), re.compile("^b.png")]
    expect(titles).to_have_text(both)
    assert "picture=a.png&beside=b.png" in seen.url
    seen.locator(".class").nth(1).click()
    expect(seen.locator(".class").nth(1)).to_have_attribute("aria-pressed", "true")
    chosen = seen.url
    seen.select_option("#with", "")
    expect(titles).to_have_count(0)
    seen.go_back()
    expect(titles).to_have_text(both)
    assert seen.url == chosen
    seen.reload()

    expect(seen.locator("#lost")).to_contain_text("of a.png and b.png, which no link can hold")
    seen.set_input_files("#file", [file("b.png", striped(64, 48)), file("a.png")])
    expect(titles).to_have_text(both)
    expect(seen.locator("#lost")).to_be_hidden()
    assert seen.url == chosen


def test_a_click_on_the_picture_beside_changes_places(seen: Page) -> None:
    """What was looked at stands beside it then."""
    seen.set_input_files("#file", file("a.png"))
    seen.select_option("#with", label="example.png")
    titles = seen.locator(".pane h3")
    expect(titles).to_have_count(2)
    seen.click(".thumbnail:has-text('example')")

    expect(titles).to_have_text([re.compile("^example.png"), re.compile("^a.png")])
    expect(seen.locator("#with option:checked")).to_have_text("a.png")
    assert "beside=a.png" in seen.url
