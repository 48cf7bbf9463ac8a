"""What is looked at on the page: evidence, blocks, groups, scales, comparisons, links."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.pictures import file, pixels_of, striped
from tests.running import noise, png_of

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("watched")]


def switch(page: Page, name: str, value: str) -> None:
    """Choose one of the switches above the picture."""
    page.check(f"[name={name}][value={value}]", force=True)


def ends(place: Locator) -> list[str]:
    """The numbers at a map's scale."""
    return place.locator(".ends span").all_inner_texts()


def number(text: str) -> float:
    """A number as the page writes it."""
    return float(text.replace("\N{MINUS SIGN}", "-"))


def test_a_class_is_clicked_to_see_its_evidence(seen: Page) -> None:
    """The mean of its map and the bias make the logit, as the page says."""
    second = seen.locator(".class").nth(1)
    label = second.locator(".label").inner_text()
    second.click()

    expect(seen.locator("figcaption")).to_have_text(f"Evidence for {label}")
    expect(second).to_have_attribute("aria-pressed", "true")
    said = seen.locator(".note").inner_text()
    found = re.search(r"mean (\S+) and the bias (\S+) make the logit (\S+)\.", said)
    assert found is not None
    mean, bias, logit = (number(text) for text in found.groups())
    assert mean + bias == pytest.approx(logit, abs=0.02)  # each is rounded to three digits


def test_the_evidence_for_a_class_rather_than_another_is_their_difference(seen: Page) -> None:
    """By the button beside the other class, or by Shift."""
    labels = seen.locator(".class .label").all_inner_texts()
    seen.locator(".less").nth(1).click()
    contrast = f"Evidence for {labels[0]} rather than {labels[1]}"

    expect(seen.locator("figcaption")).to_have_text(contrast)
    seen.locator(".class").nth(2).click(modifiers=["Shift"])
    expect(seen.locator("figcaption")).to_have_text(
        f"Evidence for {labels[0]} rather than {labels[2]}"
    )
    expect(seen.locator("#curl")).to_contain_text("%2C")


def test_any_class_can_be_looked_for_by_name(seen: Page) -> None:
    """A name that the model does not know is said there."""
    seen.fill("#find-class", "wolf")
    seen.press("#find-class", "Enter")
    expect(seen.locator("#class-error")).to_contain_text("knows no class “wolf”")
    seen.fill("#find-class", "Gnu")
    seen.press("#find-class", "Enter")

    expect(seen.locator("figcaption")).to_have_text("Evidence for gnu")
    expect(seen.locator("#class-error")).to_be_hidden()


def test_a_block_opens_and_a_group_is_laid_over_the_original(page: Page, address: str) -> None:
    """The eight liveliest first, all on request; the model's square is a part of the picture."""
    page.goto(f"{address}/?model=inserted&kind=gate")
    page.locator("#strip .tile").nth(3).click()
    tiles = page.locator("#groups .tile")
    expect(tiles).to_have_count(8)
    expect(page.locator("#block-words")).to_contain_text("layer2.1, 8 \N{MULTIPLICATION SIGN} 8")
    spreads = [number(text) for text in re.findall(r"spread (\S+)", page.inner_text("#groups"))]
    page.click("#all-groups")
    expect(tiles).to_have_count(16)
    tiles.nth(9).click()
    name = tiles.nth(9).locator(".name").first.inner_text()

    expect(page.locator("figcaption")).to_have_text(f"Gate of {name} of layer2.1")
    expect(page.locator(".caption")).to_contain_text("the dashed square is what the model saw")
    assert spreads == sorted(spreads, reverse=True)
    size = page.locator(".pane > canvas").evaluate("({width, height}) => [width, height]")
    assert size == [345, 448]  # the example's 200 x 260 px, enlarged


def test_gates_that_say_nothing_are_replaced_by_similarity(page: Page, address: str) -> None:
    """Where SGE came with the import, and the page says why."""
    page.goto(f"{address}/?model=inserted&show=attention")

    expect(page.locator("#inserted")).to_contain_text("shown is the similarity behind it")
    expect(page.locator("figcaption")).to_have_text("Mean similarity of layer4.1")
    expect(page.locator("[name=kind][value=similarity]")).to_be_checked()


def test_every_map_has_its_scale_and_one_switch_fixes_them_all(seen: Page) -> None:
    """Stretched, each map has numbers of its own; fixed, all gates go from 0 to 1."""
    switch(seen, "show", "attention")
    expect(seen.locator("figcaption")).to_have_text("Mean gate of layer4.1")
    stretched = [ends(tile) for tile in seen.locator("#strip .tile").all()]
    expect(seen.locator(".pane")).to_contain_text("stretched to this map alone")
    switch(seen, "scale", "fixed")

    expect(seen.locator(".pane")).to_contain_text("Fixed scale; this map goes from")
    assert ends(seen.locator(".pane")) == ["0", "1"]
    assert [ends(tile) for tile in seen.locator("#strip .tile").all()] == [["0", "1"]] * 8
    assert len({tuple(each) for each in stretched}) == 8


def test_evidence_has_the_same_fixed_scale_for_every_class(seen: Page) -> None:
    """0 is in its middle."""
    switch(seen, "scale", "fixed")
    expect(seen.locator(".pane")).to_contain_text("Fixed scale")
    scales = []
    for row in seen.locator(".class").all():
        row.click()
        expect(row).to_have_attribute("aria-pressed", "true")
        scales.append(ends(seen.locator(".pane")))

    assert scales[0] == scales[1] == scales[2]
    assert [number(scales[0][0]), scales[0][1]] == [-number(scales[0][2]), "0"]


def test_the_fixed_scale_of_evidence_is_the_model_versions(page: Page, address: str) -> None:
    """Neither the picture nor what was looked at before has a part in it."""
    scales = []
    for query in ("", "&class=3&minus=800"):
        page.goto(f"{address}/?model=many&scale=fixed{query}")
        expect(page.locator(".pane")).to_be_visible()
        scales.append(ends(page.locator(".pane")))
    page.set_input_files("#file", file("noise.png", png_of(noise(0))))
    expect(page.locator(".caption")).to_contain_text("noise.png")
    scales.append(ends(page.locator(".pane")))

    assert scales == [scales[0]] * 3


def test_opacity_lays_the_map_on_and_takes_it_off(seen: Page) -> None:
    """At 0 there is the picture alone."""
    switch(seen, "show", "attention")
    canvas = seen.locator(".pane > canvas")
    seen.locator("#opacity").fill("0")
    bare = pixels_of(canvas)
    seen.locator("#opacity").fill("100")
    covered = pixels_of(canvas)

    assert "opacity=100" in seen.url
    assert (bare[:, 0] == bare[:, 1]).all()  # the example is grey
    assert (covered[:, :3].std(axis=1) > 5).mean() > 0.9


def test_a_cells_number_is_said_under_the_pointer(seen: Page) -> None:
    """By its row and its column."""
    seen.locator(".pane > canvas").hover(position={"x": 5, "y": 5})

    expect(seen.locator(".reading")).to_have_text(re.compile(r"^Here \(row 1, column 1\): \S+$"))


def test_two_versions_stand_side_by_side(seen: Page) -> None:
    """Each with its classes, its map and its blocks, of which a class chosen is that of both."""
    seen.select_option("#with", "twice:1")
    expect(seen.locator(".pane")).to_have_count(2)
    seen.locator(".class").nth(1).click()

    titles = seen.locator(".pane h3").all_inner_texts()
    assert ["single version 1" in titles[0], "twice version 1" in titles[1]] == [True, True]
    captions = seen.locator("figcaption").all_inner_texts()
    assert captions[0] == captions[1]
    expect(seen.locator("#strip .tile")).to_have_count(16)
    command = seen.locator("#curl").text_content() or ""
    assert re.findall(r"model=(\w+)&version=(\d)", command) == [("single", "1"), ("twice", "1")]
    seen.select_option("#with", "")
    expect(seen.locator(".pane")).to_have_count(1)


def test_two_pictures_stand_side_by_side(seen: Page) -> None:
    """Another picture of the page is chosen by its name; the link says that it holds neither."""
    seen.set_input_files("#file", file("a.png"))
    seen.select_option("#with", label="example.png")

    expect(seen.locator(".pane h3")).to_have_text(
        [re.compile("^a.png"), re.compile("^example.png")]
    )
    seen.click("#elsewhere summary")
    expect(seen.locator("#link-note")).to_be_visible()


def test_a_comparison_that_fails_is_said_there(page: Page, address: str) -> None:
    """And the picture is shown alone."""
    page.goto(f"{address}/?with=twice:9")

    expect(page.locator("#with-error")).to_contain_text("version '9'")
    expect(page.locator(".pane")).to_have_count(1)


def test_the_address_holds_the_whole_view(page: Page, address: str) -> None:
    """Who opens it sees the same, the example in the place of a picture that no link can hold."""
    query = (
        "model=twice&version=1&picture=boot.png&with=single%3A1&show=attention&block=layer1.1"
        "&group=3&kind=similarity&frame=original&scale=fixed&smooth=off&opacity=40"
    )
    page.goto(f"{address}/?{query}")
    expect(page.locator("#groups .tile[aria-pressed=true]")).to_contain_text("group 3")

    expect(page.locator("#lost")).to_contain_text("boot.png")
    expect(page.locator(".pane h3").first).to_contain_text("twice version 1")
    expect(page.locator("figcaption").first).to_have_text("Similarity of group 3 of layer1.1")
    for name, value in (("show", "attention"), ("frame", "original"), ("scale", "fixed")):
        expect(page.locator(f"[name={name}][value={value}]")).to_be_checked()
    expect(page.locator("#smooth")).not_to_be_checked()
    expect(page.locator("#opacity-said")).to_have_text("40 %")
    assert page.url == f"{address}/?{query}"


def test_the_way_back_leads_through_the_views(seen: Page) -> None:
    """Each step that a person took is one of the history's."""
    best = seen.locator("figcaption").inner_text()
    seen.locator(".class").nth(1).click()
    expect(seen.locator("figcaption")).not_to_have_text(best)
    seen.go_back()

    expect(seen.locator("figcaption")).to_have_text(best)


def test_everything_is_reached_by_keyboard(seen: Page) -> None:
    """Arrow keys walk through classes, blocks and groups; the focus stays where it was."""
    seen.locator(".class").first.focus()
    seen.keyboard.press("ArrowDown")
    seen.keyboard.press("Enter")
    expect(seen.locator(".class").nth(1)).to_have_attribute("aria-pressed", "true")
    expect(seen.locator(".class").nth(1)).to_be_focused()
    seen.keyboard.press("End")
    seen.keyboard.press("-")
    expect(seen.locator("figcaption")).to_contain_text("rather than")
    seen.locator("#strip .tile[tabindex='0']").focus()
    seen.keyboard.press("ArrowRight")
    seen.keyboard.press("Enter")
    expect(seen.locator("#block-words")).to_contain_text("layer1.1")
    seen.locator("#groups .tile[tabindex='0']").focus()
    seen.keyboard.press("ArrowRight")
    seen.keyboard.press("Space")

    expect(seen.locator("#groups .tile").nth(1)).to_have_attribute("aria-pressed", "true")
    assert seen.locator("#groups [tabindex='0']").count() == 1


def test_the_commands_give_what_is_seen(seen: Page, tmp_path: Path) -> None:
    """The Python program, run beside the picture, prints the same classes and the map."""
    (tmp_path / "it's.png").write_bytes(striped())
    seen.set_input_files("#file", tmp_path / "it's.png")
    expect(seen.locator(".caption")).to_contain_text("it's.png")
    seen.locator(".less").nth(1).click()
    expect(seen.locator("#python")).to_contain_text("maps[0] - maps[1]")
    low, high = (
        number(each)
        for each in re.findall(r"from (\S+) to (\S+)\.", seen.inner_text(".scale p"))[0]
    )
    code = seen.locator("#python").text_content() or ""
    command = seen.locator("#curl").text_content() or ""
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    asked = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, check=True)

    best, *_ = ran.stdout.splitlines()
    numbers = np.array(re.findall(r"-?\d+\.\d*", ran.stdout.partition("[[")[2]), float)
    assert best.split()[1] == seen.locator(".class .label").first.inner_text()
    assert [numbers.min(), numbers.max()] == pytest.approx([low, high], rel=0.01)
    assert b'"attribution":{"height":2' in asked.stdout


def test_copying_is_confirmed_beside_the_button(seen: Page) -> None:
    """The address is shown as it is copied."""
    seen.click("#elsewhere summary")
    seen.click("#copy-link")

    expect(seen.locator("#copy-link + .copied")).to_have_text("Copied.")
    expect(seen.locator("#link")).to_have_text(seen.url)
    assert seen.evaluate("navigator.clipboard.readText()") == seen.url
