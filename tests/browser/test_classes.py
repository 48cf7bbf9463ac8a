"""The classes on the page: how many are listed, and which one is meant."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("watched")]


def test_more_classes_are_listed_on_request(page: Page, address: str) -> None:
    """Up to as many as the service tells of."""
    page.goto(f"{address}/?model=many")
    expect(page.locator(".class")).to_have_count(10)
    page.click("#more-classes")
    expect(page.locator(".class")).to_have_count(50)
    page.goto(f"{address}/?model=many&classes=400")
    page.click("#more-classes")

    expect(page.locator(".class")).to_have_count(1000)
    expect(page.locator("#more-classes")).to_be_hidden()


def test_a_class_whose_label_is_a_number_is_the_one_that_is_clicked(
    page: Page, address: str
) -> None:
    """Its index is never taken for another one's label, by the page or its commands."""
    page.goto(f"{address}/?model=numbered")
    for label in ("2", "10", "1"):
        row = page.locator(f".class:has(.label:text-is('{label}'))")
        row.click()
        expect(page.locator("figcaption")).to_have_text(f"Evidence for {label}")
        index = row.get_attribute("data-index")
        expect(page.locator("#curl")).to_contain_text(f"attribution=index%3A{index}'")
        expect(page.locator("#python")).to_contain_text(f"attribution=index%3A{index}&")
