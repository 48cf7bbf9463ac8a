"""The page in a real browser: pictures in, what the model saw in them out."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from service.api.key_file import add_key
from tests.browser.pictures import file, hand_over, tiff
from tests.browser.serving import serving
from tests.running import png_of, tiny_model

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("watched")]

ANSWERED = re.compile(r"^(cat|dog|gnu), \d+\.\d %$")


def test_the_page_opens_with_an_answered_example(seen: Page) -> None:
    """It says that it is one; its classes, the evidence for the best and every block are there."""
    best = seen.locator(".class .label").first.inner_text()

    expect(seen.locator("#example")).to_contain_text("is an example")
    expect(seen.locator("#status")).to_have_text(ANSWERED)
    expect(seen.locator(".class")).to_have_count(3)
    expect(seen.locator("figcaption")).to_have_text(f"Evidence for {best}")
    expect(seen.locator("#strip .tile")).to_have_count(8)
    expect(seen.locator("#times")).to_contain_text("batch of 1 · engine eager")


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_pictures_can_be_dropped_and_pasted(seen: Page, event: str) -> None:
    """Anywhere on the page; the picture is answered, and kept beside the example."""
    hand_over(seen, event, "stripes.png")

    chosen = seen.locator(".thumbnail[aria-pressed=true]")
    expect(chosen).to_contain_text("stripes.png")
    expect(chosen).to_contain_text("%")
    expect(seen.locator("#example")).to_be_hidden()
    expect(seen.locator(".thumbnail")).to_have_count(2)


def test_several_pictures_are_answered_one_by_one(seen: Page) -> None:
    """The first is looked at; the others say what they were taken for, and a click looks at one."""
    seen.set_input_files("#file", [file("a.png"), file("b.png"), file("c.png")])

    said = seen.locator(".thumbnail .quiet")
    expect(said).to_have_text([ANSWERED] * 4)
    expect(seen.locator(".caption")).to_contain_text("a.png")
    seen.click(".thumbnail:has-text('c.png')")
    expect(seen.locator(".caption")).to_contain_text("c.png, 64 \N{MULTIPLICATION SIGN} 48 px")


def test_a_picture_can_be_taken_with_the_camera(seen: Page) -> None:
    """What the camera saw is a picture like any other."""
    seen.click("#camera")
    seen.click("#take")

    expect(seen.locator(".caption")).to_contain_text("camera.jpg")
    expect(seen.locator("#camera-view")).to_be_hidden()


def test_a_picture_that_the_browser_cannot_show_is_shown_as_the_model_saw_it(seen: Page) -> None:
    """Also where the original was asked for, and the page says so."""
    seen.check("[name=frame][value=original]", force=True)
    seen.set_input_files("#file", tiff())

    expect(seen.locator(".caption")).to_contain_text("which this browser cannot show")
    expect(seen.locator(".caption")).to_contain_text("as the model saw it")


def test_what_is_no_image_is_refused_and_the_last_answer_stays(seen: Page) -> None:
    """The message names the file and the request; a good picture beside it is answered."""
    seen.set_input_files("#file", [file("a.png")])
    expect(seen.locator(".caption")).to_contain_text("a.png")
    seen.set_input_files("#file", [file("notes.png", b"no image at all")])

    expect(seen.locator("#error")).to_contain_text(re.compile(r"^notes.png: .+ \(request \w+\)"))
    expect(seen.locator(".caption")).to_contain_text("a.png")
    expect(seen.locator("#status")).to_have_text(ANSWERED)
    expect(seen.locator(".thumbnail:has-text('notes.png')")).to_contain_text("not answered")


def test_a_picture_over_a_limit_is_refused_by_that_limit(seen: Page) -> None:
    """And another picture of the same choice is looked at."""
    large = png_of(np.zeros((1100, 1000), np.uint8))
    seen.set_input_files("#file", [file("small.png"), file("large.png", large)])

    expect(seen.locator("#error")).to_contain_text("1000 x 1100 px, the limit is 1 megapixels")
    expect(seen.locator("#error")).to_contain_text("(request ")
    expect(seen.locator(".caption")).to_contain_text("small.png")


def test_an_unknown_version_in_a_link_is_said(page: Page, address: str) -> None:
    """The latest one answers then, and others can be chosen."""
    page.goto(f"{address}/?model=twice&version=7")

    expect(page.locator("#error")).to_contain_text("no version '7' of twice")
    expect(page.locator("#engine")).to_contain_text("twice version 2")
    page.select_option("#version", "1")
    expect(page.locator("#engine")).to_contain_text("twice version 1")
    expect(page.locator("#error")).to_be_hidden()


def test_versions_are_offered_where_there_are_several(seen: Page) -> None:
    """The newest comes first; the one picked answers."""
    expect(seen.locator("#versions")).to_be_hidden()
    seen.select_option("#model", "twice")
    expect(seen.locator("#version option")).to_have_text(["2", "1"])
    seen.select_option("#version", "1")

    expect(seen.locator("#engine")).to_contain_text("twice version 1")
    assert "version=1" in seen.url


def test_dark_and_light_follow_the_reader(seen: Page) -> None:
    """The page is dark for who prefers that."""
    colours = {}
    for scheme in ("light", "dark"):
        seen.emulate_media(color_scheme=scheme)
        back = seen.evaluate("getComputedStyle(document.body).backgroundColor")
        colours[scheme] = sum(map(int, re.findall(r"\d+", back)[:3]))

    assert colours["light"] > 700
    assert colours["dark"] < 100


@pytest.mark.parametrize("query", ["", "?block=layer1.0&show=attention", "?with=twice:1"])
def test_nothing_is_wider_than_a_small_telephone(page: Page, address: str, query: str) -> None:
    """At 360 px, with everything open."""
    page.set_viewport_size({"width": 360, "height": 640})
    page.goto(f"{address}/{query}")
    expect(page.locator("#answer")).to_be_visible()
    page.click("#elsewhere summary")

    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_page_asks_for_a_key_where_the_service_wants_one(page: Page, tmp_path: Path) -> None:
    """Until one is given that is known; then all works, the reference in the same tab, too."""
    key = add_key(tmp_path / "keys", "shop")
    with serving(tiny_model(), api_keys_file=tmp_path / "keys", root_path="/sge") as address:
        page.goto(f"{address}/")
        page.fill("#key", "sge_wrong")
        page.click("#key-form button")
        expect(page.locator("#key-form")).to_contain_text("not known")
        page.fill("#key", key)
        page.click("#key-form button")
        expect(page.locator("#key-form")).to_have_count(0)
        expect(page.locator("#curl")).to_contain_text('-H "X-API-Key: $KEY"')
        expect(page.locator("#python")).to_contain_text('os.environ["KEY"]')
        expect(page.locator("#elsewhere")).not_to_contain_text(key)
        page.goto(f"{address}/docs")

        expect(page.locator("body")).to_contain_text("Classify images")


def test_a_service_that_is_starting_is_asked_again(page: Page, address: str) -> None:
    """After the time that it names; until then its words stand there."""
    refusal = {
        "status": 503,
        "headers": {"Retry-After": "1"},
        "json": {"error": {"message": "the model is loading", "request_id": "1f"}},
    }
    page.route("**/v1/predict?*", lambda route: route.fulfill(**refusal), times=1)
    page.goto(f"{address}/")

    expect(page.locator("#error")).to_have_text(
        "the model is loading; try again in 1 s (request 1f)"
    )
    expect(page.locator("#status")).to_have_text(ANSWERED)
    expect(page.locator("#error")).to_be_hidden()
