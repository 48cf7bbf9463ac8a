"""Links to views: what one names may not be there, and what it cannot hold is said."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

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
