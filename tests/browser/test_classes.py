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


def test_classes_of_one_label_have_their_numbers_beside_it(page: Page, address: str) -> None:
    """So each can be looked for; a name that is not clear is said to be so."""
    page.goto(f"{address}/?model=alike")
    names = ["crane (class 0)", "Crane", "crane (class 2)"]
    expect(page.locator("#labels option")).to_have_count(3)
    offered = page.eval_on_selector_all("#labels option", "all => all.map(({value}) => value)")
    listed = page.locator(".class .label").all_inner_texts()
    page.fill("#find-class", "crane")
    page.press("#find-class", "Enter")
    expect(page.locator("#class-error")).to_contain_text(", ".join(names))
    for name in names:
        page.fill("#find-class", name)
        page.press("#find-class", "Enter")
        expect(page.locator("figcaption")).to_have_text(f"Evidence for {name}")

    expect(page.locator("#class-error")).to_be_hidden()
    assert [offered, sorted(listed)] == [names, sorted(names)]


def test_a_long_label_breaks_within_a_small_telephone(page: Page, address: str) -> None:
    """In headings, lists, captions, thumbnails and comparisons, and nothing of it is cut off."""
    page.set_viewport_size({"width": 360, "height": 640})
    for query in ("?model=long", "?model=long&with=long:1&class=1&minus=2"):
        page.goto(f"{address}/{query}")
        expect(page.locator("#answer")).to_be_visible()
        thumbnail = page.locator(".thumbnail .quiet")

        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        assert thumbnail.evaluate("({scrollWidth, clientWidth}) => scrollWidth <= clientWidth")
