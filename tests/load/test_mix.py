"""The mix against the service itself."""

from __future__ import annotations

from collections import Counter

import httpx
import pytest

from tests.load.mix import Kind, choose, make_kinds, single_images
from tests.running import Running, running

KINDS = make_kinds("tiny")


@pytest.mark.anyio
async def test_each_kind_gets_the_answer_it_asks_for() -> None:
    """Pictures get a result each, with masks where asked; files that are none, a refusal."""
    async with running() as service:
        answers = {kind: await post(service, kind) for kind in KINDS}

    assert {kind.name: answer.status_code for kind, answer in answers.items()} == {
        kind.name: kind.status for kind in KINDS
    }
    assert {
        kind.name: b'"MASK"' in answer.content
        for kind, answer in answers.items()
        if kind.name.endswith("v2") and kind.status == 200
    } == {"photo v2": False, "masks v2": True}
    assert {
        kind.name: ["masks" in result for result in answer.json()["results"]]
        for kind, answer in answers.items()
        if kind.status == 200 and not kind.name.endswith("v2")
    } == {
        kind.name: ["masks=" in kind.path] * kind.images
        for kind in KINDS
        if kind.status == 200 and not kind.name.endswith("v2")
    }


async def post(service: Running, kind: Kind) -> httpx.Response:
    """Send one request of a kind."""
    return await service.client.post(kind.path, content=kind.body, headers=kind.headers)


def test_an_open_loop_sends_only_what_is_one_image() -> None:
    """Requests that are refused, or that hold several images, are left to closed-loop users."""
    names = [kind.name for kind in single_images(KINDS)]

    assert names == [
        "small",
        "canvas",
        "photo",
        "photo v2",
        "large",
        "masks",
        "masks v2",
        "overlay",
    ]


def test_kinds_come_by_their_weights_and_the_same_for_the_same_seed() -> None:
    """A sequence can be repeated; 19,000 draws bring each kind within 10 % of its share."""
    draws = choose(KINDS, 19_000, seed=4)
    total = sum(kind.weight for kind in KINDS)

    counted = Counter(kind.name for kind in draws)
    assert draws == choose(KINDS, 19_000, seed=4)
    assert counted == {
        kind.name: pytest.approx(kind.weight / total * 19_000, rel=0.1) for kind in KINDS
    }
